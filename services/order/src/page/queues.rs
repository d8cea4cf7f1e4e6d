//! What waits in the broker, seen from outside: looked at, never taken.

use crate::NAME;
use events::SAGA;
use messaging::{
    Broker, BrokerError, Depth, Ladder, Lookout, Topology, dead_letters, is_parking, queue_name,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

pub const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Every queue at one moment; empty where nobody could look.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Queues {
    depths: BTreeMap<String, Depth>,
}

/// What a service's queues come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Of the queue that has the fewest.
    pub consumers: u32,
    pub waiting: u32,
    pub retrying: u32,
    pub dead: u32,
}

impl Queues {
    pub fn consumers(&self, queue: &str) -> Option<u32> {
        self.depths.get(queue).map(|depth| depth.consumers)
    }

    /// `None` where nobody could look.
    pub fn of(&self, service: &str) -> Option<Sums> {
        let heard = SAGA.iter().filter(|step| step.service == service);
        let mut sums = Sums { consumers: u32::MAX, ..Sums::default() };
        for queue in heard.map(|step| queue_name(service, step.hears)) {
            let depth = self.depths.get(&queue)?;
            sums.consumers = sums.consumers.min(depth.consumers);
            sums.waiting += depth.ready;
            sums.dead += self.depths.get(&dead_letters(&queue)).map_or(0, |dead| dead.ready);
        }
        let rungs = format!("{service}.retry.");
        let rungs = self.depths.iter().filter(|(name, _)| name.starts_with(&rungs));
        sums.retrying = rungs.map(|(_, depth)| depth.ready).sum();
        Some(sums)
    }

    /// Where dead letters lie, and how many.
    pub fn parked(&self) -> BTreeMap<String, u32> {
        let parked = self.depths.iter().filter(|(name, depth)| is_parking(name) && depth.ready > 0);
        parked.map(|(name, depth)| (name.clone(), depth.ready)).collect()
    }
}

/// Looks again and again, over one connection for as long as that lasts.
pub struct Looking {
    broker: Arc<dyn Broker>,
    names: Vec<String>,
    lookout: Option<Box<dyn Lookout>>,
}

impl Looking {
    pub fn new(broker: Arc<dyn Broker>, ladder: &Ladder) -> Self {
        // The others' rungs are taken to be as ours are; those that are not there are passed over.
        let names = Topology::whole(ladder).queues.into_iter().map(|(name, _)| name).collect();
        Self { broker, names, lookout: None }
    }

    pub async fn look(&mut self) -> Result<Queues, BrokerError> {
        let mut lookout = match self.lookout.take() {
            Some(lookout) => lookout,
            None => self.broker.look(&format!("{NAME}: looks")).await?,
        };
        let depths = lookout.depths(&self.names).await?;
        self.lookout = Some(lookout);
        let found = self.names.iter().cloned().zip(depths);
        let depths = found.filter_map(|(name, depth)| Some((name, depth?))).collect();
        Ok(Queues { depths })
    }
}
