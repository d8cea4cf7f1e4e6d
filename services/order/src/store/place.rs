//! Inserts new orders, many in one statement, which is a transaction by itself.

use super::{Answer, answers, write_facts};
use crate::view::View;
use anyhow::anyhow;
use database::{Failure, PgPool};
use events::OrderId;
use messaging::{Outgoing, PgMessageStore, insert_into_outbox};
use std::collections::{HashMap, HashSet};

/// Why new orders are not known to be written.
#[derive(Debug)]
pub enum Unwritten {
    /// The database is away, and nothing was sent to it.
    Away(anyhow::Error),
    /// The answer is lost: all is written, or nothing.
    Unknown(anyhow::Error),
    /// The database refuses it and always will; nothing is written.
    Refused(anyhow::Error),
}

/// Once the statement is sent.
impl From<Failure> for Unwritten {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Transient(why) => Self::Unknown(why),
            Failure::Permanent(why) => Self::Refused(why),
        }
    }
}

/// A new order, with its event and its answer.
#[derive(Clone)]
pub struct Placed {
    pub view: View,
    pub said: Outgoing,
    /// Where the customer gave an idempotency key.
    pub answer: Option<Answer>,
}

/// Writes them, whole, but for those whose idempotency key was answered before: gives back these
/// answers, by key.
pub async fn place(
    message_store: &PgMessageStore,
    placed: &[Placed],
) -> Result<HashMap<String, Answer>, Unwritten> {
    if placed.is_empty() {
        return Ok(HashMap::new());
    }
    let views = || placed.iter().map(|new| &new.view);
    let said = || placed.iter().map(|new| &new.said);
    let answer = |read: fn(&Answer) -> &str| {
        placed.iter().map(|new| new.answer.as_ref().map(read)).collect::<Vec<_>>()
    };
    let digests = placed.iter().map(|new| Some(new.answer.as_ref()?.digest.as_slice()));
    let writing = message_store.statement().await.map_err(|why| Unwritten::Away(why.into()))?;
    // A transaction waits for a key that another one holds; all take keys in the same order, so
    // there is no deadlock.
    let query = writing
        .query(concat!(
            "WITH asked AS (
             SELECT *
             FROM UNNEST($1::UUID[], $2::UUID[], $3::TEXT[], $4::NUMERIC[], $5::TEXT[], $6::TEXT[],
                 $7::TIMESTAMPTZ[], $8::TEXT[], $9::TEXT[], $10::TIMESTAMPTZ[],
                 $11::TEXT[], $12::BYTEA[], $13::TEXT[],
                 $14::UUID[], $15::TEXT[], $16::INTEGER[], $17::TEXT[], $18::UUID[])
                 AS new (id, customer_id, payment_method, total_amount, items, trace,
                 created_at, facts, status, updated_at,
                 key, digest, answer,
                 event_id, event_type, version, body, caused_by)),
         answered AS (
             INSERT INTO http_idempotency_keys (key, digest, order_id, answer)
             SELECT key, digest, id, answer
             FROM asked
             WHERE key IS NOT NULL
             ORDER BY key, id
             ON CONFLICT DO NOTHING
             RETURNING order_id),
         fresh AS (
             SELECT *
             FROM asked
             WHERE key IS NULL OR id IN (SELECT order_id FROM answered)),
         placed AS (
             INSERT INTO orders (id, customer_id, payment_method, total_amount, items, trace,
                 created_at, facts, status, updated_at)
             SELECT id, customer_id, payment_method, total_amount, items::JSONB, trace,
                 created_at, facts::JSONB, status, updated_at
             FROM fresh),
         said AS (
             ",
            insert_into_outbox!(),
            " SELECT event_id, event_type, version, id, body, caused_by, trace
             FROM fresh)
         SELECT id FROM fresh",
        ))
        .bind(views().map(|view| view.id).collect::<Vec<_>>())
        .bind(views().map(|view| view.customer_id).collect::<Vec<_>>())
        .bind(views().map(|view| view.payment_method.name()).collect::<Vec<_>>())
        .bind(views().map(|view| view.total_amount.decimal()).collect::<Vec<_>>())
        .bind(views().map(items_text).collect::<Vec<_>>())
        .bind(said().map(|event| event.trace.as_deref()).collect::<Vec<_>>())
        .bind(views().map(|view| view.created_at).collect::<Vec<_>>())
        .bind(views().map(|view| write_facts(view.order.timeline())).collect::<Vec<_>>())
        .bind(views().map(|view| view.order.status().name()).collect::<Vec<_>>())
        .bind(views().map(View::updated_at).collect::<Vec<_>>())
        .bind(answer(|answer| &answer.key))
        .bind(digests.collect::<Vec<_>>())
        .bind(answer(|answer| &answer.body))
        .bind(said().map(|event| event.id).collect::<Vec<_>>())
        .bind(said().map(|event| event.event.as_str()).collect::<Vec<_>>())
        .bind(said().map(|event| i32::from(event.version)).collect::<Vec<_>>())
        .bind(said().map(|event| event.body.as_str()).collect::<Vec<_>>())
        .bind(said().map(|event| event.caused_by).collect::<Vec<_>>());
    let fresh = query.rows::<(OrderId,)>().await.map_err(Failure::from)?;
    let fresh: HashSet<OrderId> = fresh.into_iter().map(|(id,)| id).collect();
    let repeated = placed.iter().filter(|new| !fresh.contains(&new.view.id));
    let keys: Vec<_> = repeated.filter_map(|new| Some(new.answer.as_ref()?.key.as_str())).collect();
    // A statement of its own: it sees the rows that were in conflict.
    let given = if keys.is_empty() {
        HashMap::new()
    } else {
        // The first statement is complete, even if this one fails.
        answers::given(&writing, &keys).await.map_err(|why| Unwritten::Unknown(why.into()))?
    };
    match keys.iter().find(|key| !given.contains_key(**key)) {
        Some(key) => {
            Err(Unwritten::Unknown(anyhow!("the answer under {key:?} is being forgotten")))
        }
        None => Ok(given),
    }
}

fn items_text(view: &View) -> String {
    serde_json::to_string(&view.items).expect("items are plain data")
}

/// Which of these orders there are.
pub async fn placed(pool: &PgPool, orders: &[OrderId]) -> Result<HashSet<OrderId>, Failure> {
    let there: Vec<OrderId> = sqlx::query_scalar("SELECT id FROM orders WHERE id = ANY($1)")
        .bind(orders)
        .fetch_all(pool)
        .await?;
    Ok(there.into_iter().collect())
}
