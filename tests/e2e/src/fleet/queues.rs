//! Waits until the queues are empty, and reads the rows that are left then.

use super::{Fleet, schedule};
use crate::until;
use futures::future::join_all;
use messaging::{QueueShape, Topology};

impl Fleet {
    /// The rows of the four services, without their idempotency tables.
    pub async fn tables(&self) -> Vec<String> {
        let tables = [
            ("order", "orders"),
            ("payment", "payments"),
            ("inventory", "products"),
            ("inventory", "reservations"),
            ("inventory", "reservation_items"),
            ("inventory", "refusals"),
            ("shipping", "shipments"),
            ("shipping", "cancel_marks"),
        ];
        let mut rows = Vec::new();
        for (service, table) in tables {
            let select = format!("SELECT '{table} ' || t::TEXT FROM {table} AS t ORDER BY 1");
            let found: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(select))
                .fetch_all(&self.pool(service).await)
                .await
                .expect("the table is there");
            rows.extend(found);
        }
        rows
    }

    /// Waits until no message is in any main or retry queue. The broker does not count a message
    /// that is being handled: the services are stopped for the check, and started again.
    pub async fn drained(&mut self) {
        until(|| async { self.empty().await }).await;
        loop {
            let names: Vec<String> = self.processes.keys().cloned().collect();
            let stopped = names.iter().map(|name| self.take(name)).map(async |process| {
                let log = process.log.clone();
                (process.stop().await, log)
            });
            for ((status, took), log) in join_all(stopped.collect::<Vec<_>>()).await {
                let log = std::fs::read_to_string(log).unwrap_or_default();
                assert!(status.success(), "{status} after {took:?}\n{log}");
            }
            let empty = self.empty().await;
            for name in names {
                self.spawn(&name);
            }
            self.ready().await;
            if empty.is_ok() {
                return;
            }
        }
    }

    async fn empty(&self) -> Result<(), String> {
        let queues = Topology::whole(&schedule()).queues.into_iter();
        let busy = queues.filter(|(_, shape)| *shape != QueueShape::Parked);
        let names: Vec<String> = busy.map(|(name, _)| name).collect();
        let counts = self.broker.ready(&names).await;
        let waiting: Vec<_> = names.iter().zip(counts).filter(|(_, count)| *count > 0).collect();
        if waiting.is_empty() { Ok(()) } else { Err(format!("{waiting:?}")) }
    }
}
