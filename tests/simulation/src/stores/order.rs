//! Orders on a disk.

use crate::{disk::Disk, faults::Mutant};
use chrono::TimeDelta;
use database::Failure;
use events::OrderId;
use memory_stores::order::Orders;
use messaging::{Env, MessageStore, Reply, reply};
use order::{Answer, Cancellable, LockWait, OrderRepository, Placed, Unwritten};
use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

/// The error of a clock that was read over a slow connection, and the time from the drawing up of
/// an order, when its age begins, to its row: the writer retries for five seconds, and the last
/// attempt takes its time.
const TOLERANCE: TimeDelta = TimeDelta::seconds(4 + 10);

impl OrderRepository for Disk<Orders> {
    async fn place(
        &self,
        placed: &[Placed],
        _lock_wait: LockWait,
    ) -> Result<HashMap<String, Answer>, Unwritten> {
        // The true time, by no machine's clock.
        let placed_at = self.chaos.now();
        let mut tx = self.begin().await.map_err(|why| Unwritten::Away(why.into()))?;
        let (said, given) = tx.data().place(placed, placed_at);
        self.enqueue(&mut tx, &said).await?;
        self.commit(tx).await?;
        Ok(given)
    }

    async fn placed(&self, orders: &[OrderId]) -> Result<HashSet<OrderId>, Failure> {
        self.look(|book| book.placed(orders)).await
    }

    fn cancellable<'a>(
        &'a self,
        tx: &mut Self::Tx,
        orders: &[OrderId],
    ) -> Reply<'a, HashMap<OrderId, Cancellable>> {
        reply(Ok(tx.data().cancellable(orders)))
    }

    async fn overdue(
        &self,
        age: Duration,
        after: OrderId,
        max: usize,
    ) -> Result<Vec<OrderId>, Failure> {
        let now = match self.chaos.is_broken(Mutant::DeadlineByItsOwnClock) {
            true => self.chaos.machine_now(self.place),
            false => self.chaos.database_now(self.place.service),
        };
        self.look(|orders| {
            let late: Vec<_> = orders.overdue(now - age, after).take(max).collect();
            for (id, row) in &late {
                if row.placed_at + age > self.chaos.now() + TOLERANCE {
                    self.chaos.cancels_early(*id);
                }
            }
            late.into_iter().map(|(id, _)| id).collect()
        })
        .await
    }
}
