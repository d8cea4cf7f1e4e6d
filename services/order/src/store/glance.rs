//! Reads what the page shows of all orders: bounded by index reads, however many orders there are.

use super::{
    read::{VIEW, ViewRow, of_client, readable, views},
    read_facts,
};
use crate::{
    order::{Order, Status},
    view::View,
};
use chrono::{DateTime, Utc};
use database::{Failure, PgPool};
use events::{OrderId, said_at};
use sqlx::{Postgres, QueryBuilder};
use std::sync::Arc;

pub const NEWEST: i64 = 40;
/// Of each outcome, so many of the newest; and so many of the oldest that have none.
pub const EACH: i64 = 10;
/// Counting ends here: more makes no difference to a viewer.
pub const COUNTED_MAX: i64 = 10_000;
pub const OUTCOMES: [Option<Status>; 4] =
    [Some(Status::Confirmed), Some(Status::Cancelled), Some(Status::PaymentFailed), None];

/// The newest of all, the newest of each outcome, those that have waited longest, and these; newest
/// first.
pub async fn glance(pool: &PgPool, also: &[OrderId]) -> Result<Vec<View>, Failure> {
    let mut query = QueryBuilder::<Postgres>::new(VIEW);
    query.push("id IN (SELECT UNNEST(").push_bind(also).push("::UUID[])");
    query.push(" UNION (SELECT id FROM orders ORDER BY id DESC LIMIT ").push_bind(NEWEST);
    for outcome in OUTCOMES {
        query.push(") UNION (SELECT id FROM orders WHERE ");
        // Only this form uses an index that has the nulls at its end.
        match outcome {
            Some(outcome) => query.push("outcome = ").push_bind(outcome.name()),
            None => query.push("outcome IS NULL"),
        };
        query.push(" ORDER BY id DESC LIMIT ").push_bind(EACH);
    }
    query.push(") UNION (SELECT id FROM orders WHERE outcome IS NULL ORDER BY id LIMIT ");
    query.push_bind(EACH).push(")) ORDER BY id DESC");
    let rows: Vec<ViewRow> = query.build_query_as().fetch_all(pool).await?;
    Ok(views(rows))
}

/// The number of orders by outcome, or without one; `COUNTED_MAX` of each at most.
pub async fn count(pool: &PgPool) -> Result<Vec<(Option<Status>, i64)>, Failure> {
    let mut query = QueryBuilder::<Postgres>::new("SELECT ");
    let mut counts = query.separated(", ");
    for outcome in OUTCOMES {
        counts.push("(SELECT COUNT(*) FROM (SELECT FROM orders WHERE ");
        match outcome {
            Some(outcome) => {
                counts.push_unseparated("outcome = ").push_bind_unseparated(outcome.name())
            }
            None => counts.push_unseparated("outcome IS NULL"),
        };
        counts.push_unseparated(" LIMIT ").push_bind_unseparated(COUNTED_MAX);
        counts.push_unseparated(") AS those)");
    }
    let counted: (i64, i64, i64, i64) = query.build_query_as().fetch_one(pool).await?;
    let counted: [i64; 4] = counted.into();
    Ok(OUTCOMES.into_iter().zip(counted).collect())
}

/// The number of open orders.
pub async fn running(pool: &PgPool) -> Result<i64, Failure> {
    let count = "SELECT COUNT(*) FROM orders WHERE outcome IS NULL";
    Ok(sqlx::query_scalar(count).fetch_one(pool).await?)
}

/// An order, and the client that has placed it.
pub type Changed = (OrderId, Order, Option<Arc<str>>);

/// The recent changes of the newest orders.
pub struct Lately {
    pub orders: Vec<Changed>,
    /// The creation time of the oldest order read; none if all orders were read.
    pub back_to: Option<DateTime<Utc>>,
}

/// Those of so many of the newest orders that have changed since then; of one client's, where one
/// is given.
pub async fn lately(
    pool: &PgPool,
    since: DateTime<Utc>,
    newest: u32,
    client: Option<&Arc<str>>,
) -> Result<Lately, Failure> {
    let mut query = QueryBuilder::<Postgres>::new(
        "SELECT id, facts::TEXT, client
         FROM (SELECT id, facts, client, updated_at FROM orders WHERE TRUE",
    );
    of_client(&mut query, client);
    query.push(" ORDER BY id DESC LIMIT ").push_bind(i64::from(newest));
    query.push(") AS newest WHERE updated_at >= ").push_bind(since).push(" ORDER BY id");
    let rows: Vec<(OrderId, String, Option<String>)> =
        query.build_query_as().fetch_all(pool).await?;
    let mut query = QueryBuilder::<Postgres>::new("SELECT id FROM orders WHERE TRUE");
    of_client(&mut query, client);
    query.push(" ORDER BY id DESC LIMIT 1 OFFSET ").push_bind(i64::from(newest) - 1);
    let oldest: Option<OrderId> = query.build_query_scalar().fetch_optional(pool).await?;
    let orders = rows.into_iter().map(|(id, facts, client)| {
        let order = read_facts(&facts);
        (id, order.map(|order| (id, order, client.map(Into::into))))
    });
    Ok(Lately { orders: readable(orders), back_to: oldest.and_then(said_at) })
}

/// Those of these orders that have more facts than the given number.
pub async fn further(
    pool: &PgPool,
    known: &[(OrderId, usize)],
) -> Result<Vec<(OrderId, Order)>, Failure> {
    let rows: Vec<(OrderId, String)> = sqlx::query_as(
        "SELECT id, orders.facts::TEXT
         FROM UNNEST($1::UUID[], $2::BIGINT[]) AS known (id, facts)
         JOIN orders USING (id)
         WHERE jsonb_array_length(orders.facts) > known.facts",
    )
    .bind(known.iter().map(|(id, _)| *id).collect::<Vec<_>>())
    .bind(known.iter().map(|(_, facts)| i64::try_from(*facts).unwrap_or(0)).collect::<Vec<_>>())
    .fetch_all(pool)
    .await?;
    let orders = rows.into_iter();
    Ok(readable(orders.map(|(id, facts)| (id, read_facts(&facts).map(|order| (id, order))))))
}

/// The trace that an order's saga goes on with.
pub async fn trace(pool: &PgPool, order: OrderId) -> Result<Option<String>, Failure> {
    let trace: Option<Option<String>> =
        sqlx::query_scalar("SELECT trace FROM orders WHERE id = $1")
            .bind(order)
            .fetch_optional(pool)
            .await?;
    Ok(trace.flatten())
}
