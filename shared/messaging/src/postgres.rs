//! Implements the message store on Postgres.

use crate::message_store::{FAILURES_MAX, Unsent};
use crate::{
    CrashPoint, Failure, Handled, MessageStore, Outgoing, Reply, Retention, Seen, crash_at,
    crash_is_due, history,
};
use async_trait::async_trait;
use database::{PgPool, Session, Transaction};
use events::{EventId, OrderId};
use futures::FutureExt;
use sqlx::types::Uuid;
use std::collections::{HashMap, HashSet};

mod embedded {
    refinery::embed_migrations!("migrations");
}

/// The statement that inserts events into the outbox; a condition on `said` may follow.
#[macro_export]
macro_rules! insert_into_outbox {
    () => {
        "INSERT INTO outbox (event_id, event_type, version, order_id, body, caused_by, trace)
         SELECT said.*
         FROM UNNEST($1::UUID[], $2::TEXT[], $3::INTEGER[], $4::UUID[], $5::TEXT[], $6::UUID[],
             $7::TEXT[])
             AS said (event_id, event_type, version, order_id, body, caused_by, trace)"
    };
}

/// Inserts these events by a statement that begins with `insert_into_outbox!`.
pub fn insert_events<'a>(
    session: &Session,
    sql: &'static str,
    said: impl ExactSizeIterator<Item = &'a Outgoing> + Clone,
) {
    session
        .batch(sql, said.len())
        .each(said.clone().map(|event| event.id))
        .each(said.clone().map(|event| event.event.as_str()))
        .each(said.clone().map(|event| i32::from(event.version)))
        .each(said.clone().map(|event| event.order_id))
        .each(said.clone().map(|event| event.body.as_str()))
        .each(said.clone().map(|event| event.caused_by))
        .each(said.map(|event| event.trace.as_deref()))
        .run();
}

/// The tables that every service has.
pub fn migrations() -> Vec<refinery_core::Migration> {
    embedded::migrations::runner().get_migrations().clone()
}

#[derive(Clone)]
pub struct PgMessageStore {
    pub pool: PgPool,
    /// How long published events are kept; 0 days is not at all.
    pub history: Retention,
}

impl PgMessageStore {
    /// It keeps no history.
    pub const fn new(pool: PgPool) -> Self {
        Self { pool, history: Retention::days(0) }
    }

    #[must_use]
    pub fn keeping(self, history: Retention) -> Self {
        Self { history, ..self }
    }

    /// For a statement that is a transaction by itself.
    pub async fn statement(&self) -> Result<Session, Failure> {
        Ok(self.pool.statement().await?)
    }
}

#[async_trait]
impl MessageStore for PgMessageStore {
    type Tx = Transaction;

    async fn begin(&self) -> Result<Transaction, Failure> {
        Ok(self.pool.begin().await?)
    }

    async fn commit(&self, tx: Transaction) -> Result<(), Failure> {
        if crash_is_due(CrashPoint::Written) {
            tx.flush().await?;
            crash_at(CrashPoint::Written);
        }
        Ok(tx.commit().await?)
    }

    fn insert_inbox<'a>(&'a self, tx: &mut Transaction, keys: &[Handled]) -> Reply<'a, Vec<Seen>> {
        // First the locks, then the keys in their order: two batches with the same orders or events
        // wait for each other, and never deadlock.
        let orders: Vec<_> = keys.iter().map(|key| key.order_id).collect();
        database::lock_orders(tx, &orders);
        let mut sorted: Vec<_> = keys.iter().collect();
        sorted.sort_by_key(|key| key.event_id);
        let ids: Vec<_> = sorted.iter().map(|key| key.event_id).collect();
        let query = tx
            .batch(
                "INSERT INTO idempotency_keys (event_id, event_type, order_id, digest)
                 SELECT * FROM UNNEST($1::UUID[], $2::TEXT[], $3::UUID[], $4::BYTEA[])
                 ON CONFLICT DO NOTHING
                 RETURNING event_id",
                keys.len(),
            )
            .each(&ids)
            .each(sorted.iter().map(|key| key.event))
            .each(sorted.iter().map(|key| key.order_id))
            .each(sorted.iter().map(|key| key.digest.as_slice()));
        let new = query.rows::<(Uuid,)>();
        let (tx, keys) = (Session::clone(tx), keys.to_vec());
        let seen = async move {
            let new: HashSet<Uuid> = new.await?.into_iter().map(|(id,)| id).collect();
            if new.len() == keys.len() {
                return Ok(vec![Seen::New; keys.len()]);
            }
            let digests: HashMap<_, _> = digests(&tx, &ids).await?.into_iter().collect();
            let seen = keys.iter().map(|key| match digests.get(&key.event_id) {
                Some(digest) if *digest != key.digest => Seen::Forged,
                _ if new.contains(&key.event_id) => Seen::New,
                _ => Seen::Before,
            });
            Ok(seen.collect())
        };
        seen.boxed()
    }

    async fn repaired(
        &self,
        tx: &mut Transaction,
        letters: &[(&str, &Handled)],
    ) -> Result<HashMap<EventId, EventId>, Failure> {
        let query = tx
            .query(
                "SELECT message_id, new_event_id
             FROM UNNEST($1::TEXT[], $2::TEXT[], $3::BYTEA[]) AS letter (queue, message_id, digest)
             JOIN dead_letter_actions USING (queue, message_id, digest)
             WHERE action = 'repaired'",
            )
            .bind(letters.iter().map(|(queue, _)| *queue).collect::<Vec<_>>())
            .bind(letters.iter().map(|(_, key)| key.event_id.to_string()).collect::<Vec<_>>())
            .bind(letters.iter().map(|(_, key)| key.digest.as_slice()).collect::<Vec<_>>());
        let repaired: Vec<(String, EventId)> = query.rows().await?;
        Ok(repaired.into_iter().filter_map(|(old, new)| Some((old.parse().ok()?, new))).collect())
    }

    async fn lock_orders(&self, tx: &mut Transaction, orders: &[OrderId]) -> Result<(), Failure> {
        database::lock_orders(tx, orders);
        Ok(())
    }

    async fn enqueue(&self, tx: &mut Transaction, said: &[Outgoing]) -> Result<(), Failure> {
        insert_events(tx, insert_into_outbox!(), said.iter());
        Ok(())
    }

    async fn claim_unsent(&self, max: usize) -> Result<Unsent, Failure> {
        let rows: Vec<OutboxRow> = sqlx::query_as(
            "WITH together AS MATERIALIZED (
                 SELECT event_id
                 FROM outbox
                 WHERE due_at <= now() AND failures = 0
                 ORDER BY due_at
                 LIMIT $1
                 FOR UPDATE SKIP LOCKED),
             alone AS MATERIALIZED (
                 SELECT event_id
                 FROM outbox
                 WHERE due_at <= now() AND failures > 0
                 ORDER BY due_at
                 LIMIT 1
                 FOR UPDATE SKIP LOCKED)
             UPDATE outbox
             SET due_at = now() + INTERVAL '15 seconds'
             FROM (SELECT * FROM together UNION ALL SELECT * FROM alone) AS due
             WHERE outbox.event_id = due.event_id
             RETURNING outbox.event_id, event_type, version, order_id, body, caused_by, trace,
                 failures",
        )
        .bind(i64::try_from(max).unwrap_or(i64::MAX))
        .fetch_all(&self.pool)
        .await?;
        let (together, alone): (Vec<_>, Vec<_>) =
            rows.into_iter().partition(|row| row.failures == 0);
        Ok(Unsent {
            together: together.into_iter().map(Outgoing::from).collect(),
            alone: alone.into_iter().next().map(Outgoing::from),
        })
    }

    async fn suspect(&self, unsent: &[EventId], reason: &str) -> Result<Vec<EventId>, Failure> {
        let parked = sqlx::query_scalar(
            "WITH failed AS (
                 UPDATE outbox
                 SET failures = failures + 1,
                     last_error = $2,
                     parked_at = CASE WHEN failures + 1 >= $3 THEN now() END,
                     due_at = now() + CASE
                         WHEN failures + 1 >= $3 THEN INTERVAL '1 minute'
                         ELSE failures * INTERVAL '1 second' END
                 WHERE event_id = ANY($1)
                 RETURNING event_id, parked_at)
             SELECT event_id FROM failed WHERE parked_at IS NOT NULL",
        )
        .bind(unsent)
        .bind(reason)
        .bind(FAILURES_MAX)
        .fetch_all(&self.pool)
        .await?;
        Ok(parked)
    }

    async fn release(&self, unsent: &[EventId]) -> Result<(), Failure> {
        sqlx::query("UPDATE outbox SET due_at = now() WHERE event_id = ANY($1)")
            .bind(unsent)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    async fn forget_sent(&self, sent: &[EventId]) -> Result<(), Failure> {
        history::forget_sent(&self.pool, sent, self.history).await
    }

    async fn quarantine_start(&self, suspect: &[u8], attempt: Uuid) -> Result<u32, Failure> {
        let starts: i32 = sqlx::query_scalar(
            "INSERT INTO suspects (fingerprint, last_attempt)
             VALUES ($1, $2)
             ON CONFLICT (fingerprint) DO UPDATE
             SET starts = suspects.starts
                     + (suspects.last_attempt IS DISTINCT FROM EXCLUDED.last_attempt)::INTEGER,
                 last_attempt = EXCLUDED.last_attempt,
                 started_at = now()
             RETURNING starts",
        )
        .bind(suspect)
        .bind(attempt)
        .fetch_one(&self.pool)
        .await?;
        Ok(starts.unsigned_abs())
    }

    async fn quarantine_end(&self, suspect: &[u8]) -> Result<(), Failure> {
        sqlx::query("DELETE FROM suspects WHERE fingerprint = $1")
            .bind(suspect)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    async fn postpone(&self, unsent: &[EventId], reason: &str) -> Result<(), Failure> {
        sqlx::query(
            "UPDATE outbox
             SET attempts = attempts + 1,
                 failures = 0,
                 parked_at = NULL,
                 last_error = $2,
                 due_at = now() + LEAST(5, POWER(2, LEAST(attempts, 3))) * INTERVAL '1 second'
             WHERE event_id = ANY($1)",
        )
        .bind(unsent)
        .bind(reason)
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}

/// Each id is searched in its own partition only; `= ANY($1)` would search all ids in all
/// partitions.
async fn digests(tx: &Session, ids: &[Uuid]) -> Result<Vec<(Uuid, Vec<u8>)>, sqlx::Error> {
    let query = tx.query(
        "SELECT event_id, digest
         FROM UNNEST($1::UUID[]) AS event_id
         JOIN idempotency_keys USING (event_id)",
    );
    query.bind(ids).rows().await
}

database::row! {
    pub struct OutboxRow {
        event_id: Uuid,
        event_type: String,
        version: i32,
        order_id: Uuid,
        body: String,
        caused_by: Option<Uuid>,
        trace: Option<String>,
        failures: i32,
    }
}

impl From<OutboxRow> for Outgoing {
    fn from(row: OutboxRow) -> Self {
        Self {
            id: row.event_id,
            event: row.event_type,
            version: u16::try_from(row.version).unwrap_or(1),
            order_id: row.order_id,
            body: row.body,
            caused_by: row.caused_by,
            trace: row.trace,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Env, SystemEnv, migrations};
    use serde_json::json;

    async fn migrated() -> PgMessageStore {
        let pool = database::testing::throwaway().await;
        database::migrate(&pool, "messaging_schema_history", &migrations()).await.unwrap();
        PgMessageStore::new(pool)
    }

    #[tokio::test]
    async fn a_start_in_quarantine_is_counted_once_however_often_it_is_asked_for() {
        let message_store = migrated().await;
        let [one, other] = [1, 2].map(Uuid::from_u128);
        for (attempt, starts) in [(one, 1), (one, 1), (other, 2), (other, 2)] {
            let counted = message_store.quarantine_start(b"suspect", attempt).await.unwrap();
            assert_eq!(counted, starts);
        }
    }

    #[tokio::test]
    async fn an_event_is_postponed_however_often_it_was() {
        let message_store = migrated().await;
        let (id, order_id) = (SystemEnv.new_id(), OrderId::from_u128(1));
        let (event, body) = ("till.counted".into(), json!({}).to_string());
        let said = Outgoing { id, event, version: 1, order_id, body, caused_by: None, trace: None };
        let mut tx = message_store.begin().await.unwrap();
        message_store.enqueue(&mut tx, &[said]).await.unwrap();
        message_store.commit(tx).await.unwrap();
        for attempts in [0, 3, 2_000] {
            let set = sqlx::query("UPDATE outbox SET attempts = $1").bind(attempts);
            set.execute(&message_store.pool).await.unwrap();
            message_store.postpone(&[id], "unroutable").await.unwrap();
            let waits: bool =
                sqlx::query_scalar("SELECT due_at - now() < INTERVAL '6 seconds' FROM outbox")
                    .fetch_one(&message_store.pool)
                    .await
                    .unwrap();
            assert!(waits, "after {attempts}");
        }
    }
}
