//! Checks the invariants over the databases in memory: those that `saga verify` checks.

use crate::{database::Database, system::System};
use audit::{Quiet, Snapshot, Violation, check};
use memory_stores::snapshot::{read_broker, read_messages, read_rows};
use messaging::{QueueShape, RetrySchedule, Topology};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};
use tokio::time::{Instant, sleep};

/// Messages are acknowledged within 250 ms.
const IDLE_WITHIN: Duration = Duration::from_secs(2);

#[derive(Serialize, Deserialize)]
pub struct Verdict {
    pub orders: usize,
    /// Nothing was under way; otherwise only what must hold at every moment was checked.
    pub is_idle: bool,
    pub violations: Vec<Violation>,
}

/// Waits a moment for the system to be idle.
pub async fn verify(system: &System) -> Verdict {
    let until = Instant::now() + IDLE_WITHIN;
    loop {
        let verdict = look(system).await;
        if verdict.is_idle || Instant::now() >= until {
            return verdict;
        }
        sleep(Duration::from_millis(100)).await;
    }
}

async fn look(system: &System) -> Verdict {
    let queues: BTreeMap<_, _> =
        Topology::whole(&RetrySchedule::default()).queues.into_iter().collect();
    let mut snapshot = Snapshot::default();
    let payments = system.payments.0.data().await;
    let is_at_rest = payments.open().next().is_none();
    let (orders, stock) = (system.orders.0.data().await, system.stock.0.data().await);
    let shipments = system.shipments.0.data().await;
    read_rows(&mut snapshot, &orders, &payments, &stock, &shipments);
    read(order::NAME, &system.orders, &mut snapshot).await;
    read(payment::NAME, &system.payments, &mut snapshot).await;
    read(inventory::NAME, &system.stock, &mut snapshot).await;
    read(shipping::NAME, &system.shipments, &mut snapshot).await;
    read_broker(&mut snapshot, &system.broker, &queues);
    let is_empty = |(queue, shape): (&String, &QueueShape)| {
        *shape == QueueShape::Parked || system.broker.depth(queue) == 0
    };
    let is_idle = is_at_rest
        && queues.iter().all(is_empty)
        && snapshot.outboxes.values().all(Vec::is_empty)
        && system.are_all_final().await;
    let quiet = if is_idle { Quiet::Yes } else { Quiet::No };
    Verdict { orders: snapshot.orders.len(), is_idle, violations: check(&snapshot, quiet) }
}

async fn read<D>(service: &str, database: &Database<D>, snapshot: &mut Snapshot)
where
    D: Clone + Send + Sync + 'static,
{
    let (handled, unsent) = (database.0.handled().await, database.0.unsent().await);
    read_messages(snapshot, service, handled.into_iter(), unsent.into_iter());
}
