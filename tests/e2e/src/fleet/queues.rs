//! Waits for queues, outboxes and logs, and reads the rows that are left then.

use super::{Fleet, schedule};
use crate::until;
use futures::future::join_all;
use messaging::{Message, QueueShape, Topology, dead_letters};

impl Fleet {
    /// Waits until a queue has so many ready messages.
    pub async fn holds(&self, queue: &str, wanted: u32) {
        until(|| async {
            let there = self.broker.ready(&[queue.into()]).await[0];
            if there == wanted { Ok(()) } else { Err(format!("{queue} holds {there}")) }
        })
        .await;
    }

    /// Waits for a dead letter of this queue, and takes it.
    pub async fn dead_letter(&self, queue: &str) -> Message {
        until(|| async {
            let mut dead = self.broker.drain(&dead_letters(queue)).await;
            dead.pop().ok_or_else(|| "no dead letter".into())
        })
        .await
    }

    /// Waits until one event of a service is in its outbox, because no queue takes it.
    pub async fn is_unroutable(&self, service: &str) {
        let pool = self.pool(service).await;
        let query = "SELECT COUNT(*) FROM outbox WHERE last_error LIKE 'unroutable%'";
        until(|| async {
            let waiting: i64 = sqlx::query_scalar(query).fetch_one(&pool).await.expect("a count");
            if waiting == 1 { Ok(()) } else { Err(format!("{waiting} wait in the outbox")) }
        })
        .await;
    }

    /// Waits until a process has logged this.
    pub async fn logs(&self, process: &str, text: &str) {
        until(|| async {
            let log = self.process(process).log();
            if log.contains(text) { Ok(()) } else { Err(format!("no {text:?} in\n{log}")) }
        })
        .await;
    }

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
