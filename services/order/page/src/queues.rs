//! Reads the depths of the queues, by passive declarations: no message is taken.

use crate::operator::Operator;
use events::SAGA;
use messaging::{
    Broker, BrokerError, Depth, QueueInspector, Topology, dead_letters, is_parking, queue_name,
};
use order::NAME;
use service::Context;
use std::{collections::BTreeMap, sync::Arc, time::Duration};

pub const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The queues that may be inspected, at one moment; empty without a broker.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Queues {
    depths: BTreeMap<String, Depth>,
}

/// The sums over a service's queues.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Of the queue that has the fewest.
    pub consumers: u32,
    pub waiting: u32,
    /// Unknown, as the dead letters, if only an operator may read them.
    pub retrying: Option<u32>,
    pub dead: Option<u32>,
}

impl Queues {
    pub fn consumers(&self, queue: &str) -> Option<u32> {
        self.depths.get(queue).map(|depth| depth.consumers)
    }

    /// `None` if its queues may not be inspected.
    pub fn of(&self, service: &str) -> Option<Sums> {
        let heard = SAGA.iter().filter(|step| step.service == service);
        let mut sums = Sums { consumers: u32::MAX, dead: Some(0), ..Sums::default() };
        for queue in heard.map(|step| queue_name(service, step.hears)) {
            let depth = self.depths.get(&queue)?;
            sums.consumers = sums.consumers.min(depth.consumers);
            sums.waiting += depth.ready;
            let dead = self.depths.get(&dead_letters(&queue)).map(|dead| dead.ready);
            sums.dead = sums.dead.zip(dead).map(|(sum, dead)| sum + dead);
        }
        let tiers = format!("{service}.retry.");
        let tiers = self.depths.iter().filter(|(name, _)| name.starts_with(&tiers));
        sums.retrying = tiers.map(|(_, depth)| depth.ready).reduce(|sum, ready| sum + ready);
        Some(sums)
    }

    /// The dead letter queues with their depths.
    pub fn parked(&self) -> BTreeMap<String, u32> {
        let parked = self.depths.iter().filter(|(name, depth)| is_parking(name) && depth.ready > 0);
        parked.map(|(name, depth)| (name.clone(), depth.ready)).collect()
    }
}

/// Polls, over one connection as long as it lasts.
pub struct Looking {
    broker: Arc<dyn Broker>,
    names: Vec<String>,
    lookout: Option<Box<dyn QueueInspector>>,
}

impl Looking {
    /// Reads all queues as an operator; otherwise, as order, those that it consumes from: RabbitMQ
    /// 4.3 shows a user only queues on which it has a right.
    pub fn new(context: &Context<()>, operator: Option<&dyn Operator>) -> Self {
        // The other services' tiers are assumed to be like ours; missing ones are skipped.
        let all = Topology::whole(&context.schedule);
        match operator.and_then(Operator::broker) {
            Some(broker) => {
                let names = all.queues.into_iter().map(|(name, _)| name).collect();
                Self { broker, names, lookout: None }
            }
            None => {
                let own = Topology { service: NAME.into(), ..all };
                let names = own.consumed().map(ToOwned::to_owned).collect();
                Self { broker: context.broker.clone(), names, lookout: None }
            }
        }
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
