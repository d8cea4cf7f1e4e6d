//! A service's connection to the broker: it breaks, reorders, repeats, and loses confirms and
//! acknowledgements. The broker itself loses nothing.

use crate::{
    chaos::{Chaos, Place, lock},
    faults::Mutant,
};
use async_trait::async_trait;
use events::{EventId, OrderId, SAGA};
use messaging::{
    Broker, BrokerError, Confirm, Deliveries, Delivery, MemoryBroker, Message, Publication,
    Publisher, Session, Topology, queue_name,
};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};
use tokio::time::sleep;

#[derive(Clone)]
pub struct Wire {
    pub broker: MemoryBroker,
    pub chaos: Arc<Chaos>,
    pub place: Place,
    /// Passed to the service's disk, where a mutant deletes before the confirm.
    pub doomed: Arc<Mutex<Vec<EventId>>>,
}

struct Through<T: ?Sized> {
    wire: Wire,
    inner: Box<T>,
}

#[async_trait]
impl Broker for Wire {
    async fn connect(&self, topology: &Topology) -> Result<Box<dyn Session>, BrokerError> {
        self.chaos.step(self.place, "connect", &[]).await;
        self.chaos.broker_fails(self.place, self.chaos.faults.broker, "connection refused")?;
        let inner = self.broker.connect(topology).await?;
        Ok(Box::new(Through { wire: self.clone(), inner }))
    }
}

#[async_trait]
impl Session for Through<dyn Session> {
    async fn consume(&self, queue: &str) -> Result<Box<dyn Deliveries>, BrokerError> {
        let inner = self.inner.consume(queue).await?;
        Ok(Box::new(Through { wire: self.wire.clone(), inner }))
    }

    async fn publisher(&self) -> Result<Box<dyn Publisher>, BrokerError> {
        let inner = self.inner.publisher().await?;
        Ok(Box::new(Through { wire: self.wire.clone(), inner }))
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

#[async_trait]
impl Deliveries for Through<dyn Deliveries> {
    async fn next(&mut self, max: usize) -> Option<Vec<Delivery>> {
        let chaos = &self.wire.chaos;
        if chaos.chance(chaos.faults.pause) {
            // Before anything is taken: a waiting task may be dropped.
            sleep(chaos.within(0..1000)).await;
        }
        let max = if chaos.is_healed() { max } else { 1 + chaos.below(max) };
        let mut batch = self.inner.next(max).await?;
        if chaos.is_broken(Mutant::AcknowledgesBeforeCommit) {
            self.inner.ack(&BTreeSet::new()).await.ok()?;
        }
        chaos.shuffle(&mut batch);
        let about: Vec<_> = batch.iter().filter_map(|one| order_of(&one.message)).collect();
        if let Some(last) = batch.last() {
            chaos.overhear(self.wire.place.service, &last.message);
        }
        chaos.note(self.wire.place.name(), "delivered", &about);
        Some(batch)
    }

    fn ready(&mut self, max: usize) -> Vec<Delivery> {
        self.inner.ready(max)
    }

    async fn is_empty(&mut self) -> Result<bool, BrokerError> {
        self.inner.is_empty().await
    }

    async fn ack(&mut self, except: &BTreeSet<u64>) -> Result<(), BrokerError> {
        let Wire { chaos, place, .. } = &self.wire;
        chaos.step(*place, "acknowledge", &[]).await;
        chaos.broker_fails(*place, chaos.faults.ack_lost, "acknowledgement lost")?;
        self.inner.ack(except).await
    }
}

#[async_trait]
impl Publisher for Through<dyn Publisher> {
    async fn publish(&self, burst: &[Publication]) -> Result<Vec<Confirm>, BrokerError> {
        let Wire { chaos, place, doomed, .. } = &self.wire;
        let (faults, place) = (&chaos.faults, *place);
        let about: Vec<_> = burst.iter().filter_map(|one| order_of(&one.message)).collect();
        if chaos.is_broken(Mutant::DeletesBeforeConfirm) {
            let ids =
                burst.iter().filter_map(|one| one.message.id.as_ref()?.parse::<EventId>().ok());
            lock(doomed).extend(ids);
        }
        chaos.step(place, "publish", &about).await;
        chaos.broker_fails(place, faults.broker, "connection broken")?;
        let mut turns: Vec<usize> = (0..burst.len()).collect();
        chaos.shuffle(&mut turns);
        let mut confirms = vec![Confirm::Refused; burst.len()];
        for turn in turns {
            // At this point some are published and some are not.
            chaos.broker_fails(place, faults.confirm_lost / 2.0, "connection broken midway")?;
            if chaos.chance(faults.refused) {
                chaos.note(place.name(), "refused by a queue", &about[..0]);
                continue;
            }
            let one = std::slice::from_ref(&burst[turn]);
            confirms[turn] =
                self.inner.publish(one).await?.first().copied().unwrap_or(Confirm::Refused);
            if chaos.chance(faults.duplicate) {
                self.wire.repeat(&burst[turn]);
            }
        }
        chaos.step(place, "published", &about).await;
        chaos.broker_fails(place, faults.confirm_lost / 2.0, "confirms lost")?;
        Ok(confirms)
    }
}

impl Wire {
    /// Delivers the event to one of its subscribers once more, some time later.
    fn repeat(&self, publication: &Publication) {
        let hearers: Vec<_> =
            SAGA.iter().filter(|step| step.hears == publication.routing_key).collect();
        if hearers.is_empty() {
            return;
        }
        let step = self.chaos.among(&hearers);
        let queue = queue_name(step.service, step.hears);
        let (broker, message) = (self.broker.clone(), publication.message.clone());
        let later = self.chaos.within(0..60_000);
        tokio::spawn(async move {
            sleep(later).await;
            broker.inject(&queue, message);
        });
    }
}

fn order_of(message: &Message) -> Option<OrderId> {
    message.correlation_id.as_ref()?.parse().ok()
}
