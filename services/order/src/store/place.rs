//! Inserts new orders, many at once: statements that are sent together are one transaction.

use super::{Answer, answers, write_facts};
use crate::view::View;
use anyhow::anyhow;
use database::{Failure, PgPool, Session};
use events::OrderId;
use messaging::{Outgoing, PgMessageStore, insert_events, insert_into_outbox};
use std::{
    collections::{HashMap, HashSet},
    future::Future,
    sync::Arc,
};

/// Why new orders are not known to be written.
#[derive(Debug)]
pub enum Unwritten {
    /// The database is away, and nothing was sent to it.
    Away(anyhow::Error),
    /// The answer is lost: all is written, or nothing.
    Unknown(anyhow::Error),
    /// The database answers, and refuses the transaction for now: a key is locked, say. Nothing is
    /// written.
    Refused(anyhow::Error),
    /// The database refuses it and always will; nothing is written.
    Permanent(anyhow::Error),
}

/// How long a transaction waits for a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockWait {
    /// As long as any other.
    Usual,
    /// While some lock is known to be held: only longer than most transactions hold one.
    Brief,
}

/// Once the statement is sent.
impl From<Failure> for Unwritten {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Transient(why) => Self::Unknown(why),
            Failure::Refused(why) => Self::Refused(why),
            Failure::Permanent(why) => Self::Permanent(why),
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
    /// Whose order it is, where keys are required.
    pub client: Option<Arc<str>>,
}

const OF_INSERTED_ORDERS: &str = concat!(
    insert_into_outbox!(),
    " WHERE order_id = (SELECT id FROM orders
         WHERE orders.id = said.order_id AND orders.xmin = pg_current_xact_id()::XID)",
);

/// In this transaction only.
const BRIEFLY: &str = "SELECT set_config('lock_timeout', '300ms', TRUE)";

/// Writes them, whole, but for those whose idempotency key was answered before: gives back these
/// answers, by key.
pub async fn place(
    message_store: &PgMessageStore,
    placed: &[Placed],
    lock_wait: LockWait,
) -> Result<HashMap<String, Answer>, Unwritten> {
    if placed.is_empty() {
        return Ok(HashMap::new());
    }
    let writing = message_store.statement().await.map_err(|why| Unwritten::Away(why.into()))?;
    if lock_wait == LockWait::Brief {
        writing.query(BRIEFLY).run();
    }
    keep_answers(&writing, placed);
    let fresh = insert_orders(&writing, placed);
    insert_events(&writing, OF_INSERTED_ORDERS, placed.iter().map(|new| &new.said));
    let fresh = fresh.await.map_err(Failure::from)?;
    let fresh: HashSet<OrderId> = fresh.into_iter().map(|(id,)| id).collect();
    let repeated = placed.iter().filter(|new| !fresh.contains(&new.view.id));
    let repeated: Vec<_> = repeated.filter_map(|new| new.answer.as_ref()).collect();
    let given = if repeated.is_empty() {
        HashMap::new()
    } else {
        // The orders are written, even if this fails.
        answers::given(&writing, &repeated).await.map_err(|why| Unwritten::Unknown(why.into()))?
    };
    match repeated.iter().find(|asked| !given.contains_key(&asked.key)) {
        Some(Answer { key, .. }) => {
            Err(Unwritten::Unknown(anyhow!("the answer under {key:?} is being forgotten")))
        }
        None => Ok(given),
    }
}

/// Those whose key is free, and was free for the same request before keys were required. A
/// transaction waits for a key that another one holds; all take keys in the same order, so there is
/// no deadlock.
fn keep_answers(writing: &Session, placed: &[Placed]) {
    let mut answers: Vec<_> = placed.iter().filter_map(|new| new.answer.as_ref()).collect();
    if answers.is_empty() {
        return;
    }
    answers.sort_by_key(|answer| (&answer.key, answer.order_id));
    writing
        .batch(
            "INSERT INTO http_idempotency_keys (key, digest, order_id, answer)
             SELECT * FROM UNNEST($1::TEXT[], $2::BYTEA[], $3::UUID[], $4::TEXT[])
                 AS new (key, digest, order_id, answer)
             WHERE digest IS DISTINCT FROM (
                 SELECT ownerless.digest FROM http_idempotency_keys AS ownerless
                 WHERE ownerless.key = split_part(new.key, E'\n', 2))
             ON CONFLICT DO NOTHING",
            answers.len(),
        )
        .each(answers.iter().map(|answer| answer.key.as_str()))
        .each(answers.iter().map(|answer| answer.digest.as_slice()))
        .each(answers.iter().map(|answer| answer.order_id))
        .each(answers.iter().map(|answer| answer.body.as_str()))
        .run();
}

/// Those without a key, or whose key was kept by this transaction. (A subquery for each: a join,
/// planned while the table is empty, might read all of it for ever.)
fn insert_orders(
    writing: &Session,
    placed: &[Placed],
) -> impl Future<Output = Result<Vec<(OrderId,)>, sqlx::Error>> + use<> {
    let views = || placed.iter().map(|new| &new.view);
    let key = |new: &Placed| new.answer.as_ref().map(|answer| answer.key.clone());
    writing
        .batch(
            "INSERT INTO orders (id, customer_id, payment_method, total_amount, items, trace,
                 created_at, facts, status, updated_at, client)
             SELECT id, customer_id, payment_method, total_amount, items::JSONB, trace,
                 created_at, facts::JSONB, status, updated_at, client
             FROM UNNEST($1::UUID[], $2::UUID[], $3::TEXT[], $4::NUMERIC[], $5::TEXT[], $6::TEXT[],
                 $7::TIMESTAMPTZ[], $8::TEXT[], $9::TEXT[], $10::TIMESTAMPTZ[], $11::TEXT[],
                 $12::TEXT[])
                 AS new (id, customer_id, payment_method, total_amount, items, trace,
                 created_at, facts, status, updated_at, client, key)
             WHERE key IS NULL
                 OR id = (SELECT order_id FROM http_idempotency_keys AS given
                     WHERE given.key = new.key AND given.xmin = pg_current_xact_id()::XID)
             RETURNING id",
            placed.len(),
        )
        .each(views().map(|view| view.id))
        .each(views().map(|view| view.customer_id))
        .each(views().map(|view| view.payment_method.name()))
        .each(views().map(|view| view.total_amount.decimal()))
        .each(views().map(items_text))
        .each(placed.iter().map(|new| new.said.trace.as_deref()))
        .each(views().map(|view| view.created_at))
        .each(views().map(|view| write_facts(view.order.timeline())))
        .each(views().map(|view| view.order.status().name()))
        .each(views().map(View::updated_at))
        .each(placed.iter().map(|new| new.client.as_deref()))
        .each(placed.iter().map(key))
        .rows()
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
