//! Reads order's rows: for an audit, and for an operator's query about some orders.

use audit::{Fact, Order, Scope, Snapshot, name};
use chrono::{DateTime, Utc};
use database::PlainConnection;
use events::{EventId, OrderId};
use futures::TryStreamExt;
use rust_decimal::Decimal;
use std::collections::HashMap;

database::row! {
    struct FactRow {
        order_id: OrderId,
        event: String,
        event_id: EventId,
        caused_by: Option<EventId>,
        reason: Option<String>,
        amount: Option<Decimal>,
    }
}

pub async fn read(
    connection: &mut PlainConnection,
    scope: &Scope,
    snapshot: &mut Snapshot,
) -> sqlx::Result<()> {
    let mut places = HashMap::new();
    let mut rows = audit::select_in!(
        sqlx::query_as,
        scope,
        "SELECT id, status, total_amount
         FROM orders",
        "id"
    )
    .fetch(&mut *connection);
    while let Some((id, status, total)) = rows.try_next().await? {
        let status: String = status;
        let status = status.parse().map_err(|why: String| sqlx::Error::Decode(why.into()))?;
        places.insert(id, snapshot.orders.len());
        snapshot.orders.push(Order { id, status, total, facts: Vec::new() });
    }
    drop(rows);
    let mut rows = audit::select_in!(
        sqlx::query_as,
        scope,
        "SELECT id AS order_id, event, event_id, caused_by, detail ->> 'reason' AS reason,
             CASE WHEN event LIKE 'payment.%' THEN (detail ->> 'amount')::NUMERIC END AS amount
         FROM orders,
             jsonb_to_recordset(facts)
                 AS fact (event TEXT, event_id UUID, caused_by UUID, detail JSONB)",
        "id"
    )
    .fetch(connection);
    while let Some(FactRow { order_id, event, event_id, caused_by, reason, amount }) =
        rows.try_next().await?
    {
        let fact = Fact { event: name(&event), event_id, caused_by, reason, amount };
        if let Some(place) = places.get(&order_id) {
            snapshot.orders[*place].facts.push(fact);
        }
    }
    Ok(())
}

/// The first so many orders that are not final.
pub async fn open(connection: &mut PlainConnection, orders_max: i64) -> sqlx::Result<Vec<OrderId>> {
    let open = sqlx::query_scalar(
        "SELECT id
         FROM orders
         WHERE outcome IS NULL
         ORDER BY id
         LIMIT $1",
    );
    open.bind(orders_max).fetch_all(connection).await
}

/// The lowest id of the last so many orders with ids from the first to the last; none where there
/// are fewer.
pub async fn nth_last(
    connection: &mut PlainConnection,
    scope: &Scope,
    orders: i64,
) -> sqlx::Result<Option<OrderId>> {
    let found = sqlx::query_scalar(
        "SELECT id
         FROM orders
         WHERE id BETWEEN $1 AND $2
         ORDER BY id DESC
         OFFSET $3
         LIMIT 1",
    );
    found.bind(scope.first).bind(scope.last).bind(orders - 1).fetch_optional(connection).await
}

/// How far the orders are checked, as JSON.
pub async fn progress(connection: &mut PlainConnection) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar("SELECT state::TEXT FROM audit_progress").fetch_optional(connection).await
}

pub async fn keep_progress(connection: &mut PlainConnection, state: &str) -> sqlx::Result<()> {
    let keeping = sqlx::query(
        "INSERT INTO audit_progress (state)
         VALUES ($1::JSONB)
         ON CONFLICT (only_row) DO UPDATE
         SET state = excluded.state, checked_at = now()",
    );
    keeping.bind(state).execute(connection).await.map(drop)
}

/// An order's id, its status, and when it was placed.
pub type Listed = (OrderId, String, DateTime<Utc>);

/// Two at most, with ids from the first to the last.
pub async fn between(
    connection: &mut PlainConnection,
    first: OrderId,
    last: OrderId,
) -> sqlx::Result<Vec<Listed>> {
    let found = sqlx::query_as(
        "SELECT id, status, created_at
         FROM orders
         WHERE id BETWEEN $1 AND $2
         ORDER BY id
         LIMIT 2",
    );
    found.bind(first).bind(last).fetch_all(connection).await
}

/// Two at most whose ids end like this, among so many of the newest, or among all. It reads that
/// much of the index: a second for some millions.
pub async fn ending(
    connection: &mut PlainConnection,
    end: &str,
    newest: Option<i64>,
) -> sqlx::Result<Vec<Listed>> {
    let found = sqlx::query_as(
        "SELECT id, status, created_at
         FROM orders
         WHERE id IN (
             SELECT id
             FROM (SELECT id FROM orders ORDER BY id DESC LIMIT $2) AS newest
             WHERE id::TEXT LIKE '%' || $1
             LIMIT 2)
         ORDER BY id",
    );
    found.bind(end).bind(newest).fetch_all(connection).await
}

pub async fn statuses(
    connection: &mut PlainConnection,
    orders: &[OrderId],
) -> sqlx::Result<HashMap<OrderId, String>> {
    let rows = sqlx::query_as("SELECT id, status FROM orders WHERE id = ANY($1)").bind(orders);
    Ok(rows.fetch_all(connection).await?.into_iter().collect())
}

/// An entry of an order's timeline; the detail is JSON.
pub type Entry = (String, EventId, DateTime<Utc>, Option<EventId>, String);

pub async fn timeline(
    connection: &mut PlainConnection,
    order: OrderId,
) -> sqlx::Result<Vec<Entry>> {
    let entries = sqlx::query_as(
        "SELECT event, event_id, at, caused_by, detail::TEXT
         FROM orders,
             jsonb_to_recordset(facts) AS fact
                 (event TEXT, event_id UUID, at TIMESTAMPTZ, caused_by UUID, detail JSONB)
         WHERE id = $1
         ORDER BY at, event_id",
    );
    entries.bind(order).fetch_all(connection).await
}
