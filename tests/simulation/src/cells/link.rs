//! Carries transfers from one cell's broker to another's, as an exchange federation with one hop
//! does: each at least once, late, and in any order.

use super::{
    allotment::{AllotmentAsked, AllotmentMoved, CellId},
    store::BEYOND,
};
use crate::{faults::Mutant, fleet::Fleet};
use events::Event;
use messaging::{
    Binding, Broker, BrokerError, Exchange, ExchangeKind, Message, QueueShape, RetrySchedule,
    Topology, exchange_of, queue_name,
};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::time::sleep;

pub struct Link {
    pub from: Arc<Fleet>,
    pub to: Arc<Fleet>,
    pub to_id: CellId,
    /// The longest delay of a batch, as long as there are faults.
    pub delay_ms: u64,
}

const CALM_DELAY_MS: u64 = 100;

impl Link {
    /// The queue at the giving cell's broker. Declared before the cell says anything.
    pub async fn declare(&self) -> Result<(), BrokerError> {
        self.from.broker.connect(&self.topology()).await.map(drop)
    }

    pub async fn run(self) {
        let chaos = &self.from.chaos;
        loop {
            if self.carry().await.is_err() {
                chaos.note("link", "broken", &[]);
            }
            sleep(chaos.within(1..2000)).await;
        }
    }

    pub fn queue(&self) -> String {
        format!("federation.{}", self.to_id)
    }

    fn topology(&self) -> Topology {
        let exchange = exchange_of("allotment");
        let queue = self.queue();
        let binding = |key: &str| Binding {
            exchange: exchange.clone(),
            queue: queue.clone(),
            key: key.into(),
        };
        let bindings = [AllotmentAsked::NAME, AllotmentMoved::NAME].map(binding).into();
        let (dead_exchange, dead_key) = (String::new(), String::new());
        let shape = QueueShape::Main { dead_exchange, dead_key };
        Topology {
            service: "federation".into(),
            exchanges: vec![Exchange { name: exchange.clone(), kind: ExchangeKind::Topic }],
            queues: vec![(queue.clone(), shape)],
            bindings,
            ..Topology::default()
        }
    }

    /// Until a session breaks. What is not acknowledged is carried again.
    async fn carry(&self) -> Result<(), BrokerError> {
        let Self { from, to, delay_ms, .. } = self;
        let chaos = &from.chaos;
        let session = from.broker.connect(&self.topology()).await?;
        let mut deliveries = session.consume(&self.queue()).await?;
        let arriving = Topology::of(inventory::NAME, &BEYOND, &RetrySchedule::default());
        while let Some(mut batch) = deliveries.next(1 + chaos.below(10)).await {
            if chaos.chance(chaos.faults.broker) {
                chaos.note("link", "cut", &[]);
                sleep(chaos.within(0..20_000)).await;
            }
            let delay_ms = if chaos.is_healed() { CALM_DELAY_MS } else { *delay_ms };
            sleep(chaos.within(0..delay_ms)).await;
            chaos.shuffle(&mut batch);
            for delivery in batch {
                // Refused while the other broker is down.
                to.broker.connect(&arriving).await?;
                self.deliver(delivery.message);
            }
            let lost = chaos.chance(chaos.faults.ack_lost);
            if lost {
                return Err(BrokerError::away("acknowledgement lost"));
            }
            deliveries.ack(&BTreeSet::new()).await?;
        }
        Ok(())
    }

    fn deliver(&self, message: Message) {
        let chaos = &self.from.chaos;
        let kind = message.kind.clone().unwrap_or_default();
        if chaos.is_broken(Mutant::LosesRequests) && kind == AllotmentAsked::NAME {
            return;
        }
        let queue = queue_name(inventory::NAME, &kind);
        let broker = self.to.broker.clone();
        if chaos.chance(chaos.faults.duplicate) {
            let (broker, queue, message) = (broker.clone(), queue.clone(), message.clone());
            let later: Duration = chaos.within(0..60_000);
            tokio::spawn(async move {
                sleep(later).await;
                broker.inject(&queue, message);
            });
        }
        broker.inject(&queue, message);
    }
}
