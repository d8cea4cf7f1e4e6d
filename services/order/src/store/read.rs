//! Reads orders for display.

use super::read_facts;
use crate::{
    order::{Order, Status},
    view::View,
};
use chrono::{DateTime, Utc};
use database::{Failure, PgPool, Session};
use events::{Event, Money, OrderCancelRequested, OrderId, PaymentMethod};
use futures::FutureExt;
use messaging::Reply;
use rust_decimal::Decimal;
use sqlx::{Postgres, QueryBuilder};
use std::{collections::HashMap, fmt, str::FromStr, sync::Arc, time::Duration};
use uuid::Uuid;

pub(super) const VIEW: &str = "
    SELECT id, customer_id, payment_method, total_amount, created_at, items::TEXT, facts::TEXT
    FROM orders
    WHERE ";

/// `None` for an unknown order, and for one that is not this client's, where one is given.
pub async fn get(
    pool: &PgPool,
    id: OrderId,
    client: Option<&Arc<str>>,
) -> Result<Option<View>, Failure> {
    let mut query = QueryBuilder::<Postgres>::new(VIEW);
    query.push("id = ").push_bind(id);
    of_client(&mut query, client);
    let row: Option<ViewRow> = query.build_query_as().fetch_optional(pool).await?;
    row.map(ViewRow::view).transpose()
}

/// Only its facts; `None` as in `get`.
pub async fn order(
    pool: &PgPool,
    id: OrderId,
    client: Option<&Arc<str>>,
) -> Result<Option<Order>, Failure> {
    let mut query = QueryBuilder::<Postgres>::new("SELECT facts::TEXT FROM orders WHERE id = ");
    query.push_bind(id);
    of_client(&mut query, client);
    let facts: Option<String> = query.build_query_scalar().fetch_optional(pool).await?;
    facts.map(|facts| read_facts(&facts)).transpose()
}

/// Whether this client has placed it.
pub async fn is_of(pool: &PgPool, id: OrderId, client: &str) -> Result<bool, Failure> {
    let is_there = "SELECT EXISTS (SELECT FROM orders WHERE id = $1 AND client = $2)";
    Ok(sqlx::query_scalar(is_there).bind(id).bind(client).fetch_one(pool).await?)
}

/// Narrows a query that has a condition already.
pub(super) fn of_client(query: &mut QueryBuilder<Postgres>, client: Option<&Arc<str>>) {
    if let Some(client) = client {
        query.push(" AND client = ").push_bind(client.to_string());
    }
}

/// Which orders a list shows.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub status: Option<Status>,
    pub customer_id: Option<Uuid>,
    /// Of those, only the ones that this client has placed.
    pub client: Option<Arc<str>>,
    /// Where the last page ended.
    pub after: Option<Cursor>,
    pub limit: usize,
}

/// The place of an order among all, newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor(pub OrderId);

/// A page of orders, newest first, and where the next one begins if there is one.
pub async fn list(pool: &PgPool, filter: &Filter) -> Result<(Vec<View>, Option<Cursor>), Failure> {
    let mut query = QueryBuilder::<Postgres>::new(VIEW);
    query.push("TRUE");
    if let Some(status) = filter.status {
        // So that only orders with this end, or only open ones, are read.
        if status.is_final() {
            query.push(" AND outcome = ").push_bind(status.name());
        } else {
            query.push(" AND outcome IS NULL AND status = ").push_bind(status.name());
        }
    }
    if let Some(customer) = filter.customer_id {
        query.push(" AND customer_id = ").push_bind(customer);
    }
    of_client(&mut query, filter.client.as_ref());
    if let Some(Cursor(id)) = filter.after {
        query.push(" AND id < ").push_bind(id);
    }
    let one_more = i64::try_from(filter.limit).unwrap_or(i64::MAX).saturating_add(1);
    query.push(" ORDER BY id DESC LIMIT ").push_bind(one_more);
    let rows: Vec<ViewRow> = query.build_query_as().fetch_all(pool).await?;
    let more = rows.len() > filter.limit;
    let last = rows.iter().take(filter.limit).next_back().filter(|_| more);
    let next = last.map(|row| Cursor(row.id));
    Ok((views(rows.into_iter().take(filter.limit)), next))
}

pub(super) fn views(rows: impl IntoIterator<Item = ViewRow>) -> Vec<View> {
    readable(rows.into_iter().map(|row| (row.id, row.view())))
}

/// Those of the orders that this release can read. One that only a newer one can takes no others
/// along.
pub(super) fn readable<T>(read: impl Iterator<Item = (OrderId, Result<T, Failure>)>) -> Vec<T> {
    let told = |(order_id, order): (OrderId, Result<T, Failure>)| match order {
        Ok(order) => Some(order),
        Err(reason) => {
            tracing::error!(%order_id, %reason, "this order cannot be read, and is left out");
            None
        }
    };
    read.filter_map(told).collect()
}

/// The order's data in a request to cancel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cancellable {
    pub payment_method: PaymentMethod,
    pub total_amount: Money,
    pub trace: Option<String>,
}

/// Of those that there are.
pub fn cancellable(
    tx: &Session,
    orders: &[OrderId],
) -> Reply<'static, HashMap<OrderId, Cancellable>> {
    let query = tx.query(
        "SELECT id, payment_method, total_amount, trace
         FROM orders
         WHERE id = ANY($1)",
    );
    let rows = query.bind(orders).rows::<(OrderId, String, Decimal, Option<String>)>();
    let known = async move {
        let rows = rows.await?.into_iter();
        rows.map(|(id, payment_method, total_amount, trace)| {
            let payment_method = payment_method.parse().map_err(Failure::permanent)?;
            let total_amount = Money::new(total_amount).map_err(Failure::permanent)?;
            Ok((id, Cancellable { payment_method, total_amount, trace }))
        })
        .collect()
    };
    known.boxed()
}

/// Orders of at least that age, by the database's clock, whose status is a running one; those
/// after the given one, oldest first.
pub async fn overdue(
    pool: &PgPool,
    age: Duration,
    after: OrderId,
    max: usize,
) -> Result<Vec<OrderId>, Failure> {
    let orders = sqlx::query_scalar(
        "SELECT id
         FROM orders
         WHERE outcome IS NULL
             AND status = ANY($1)
             AND created_at < now() - $2 * INTERVAL '1 millisecond'
             AND id > $3
             AND NOT facts @> jsonb_build_array(jsonb_build_object('event', $4::TEXT))
         ORDER BY id
         LIMIT $5",
    )
    .bind(Status::RUNNING.map(Status::name))
    .bind(i64::try_from(age.as_millis()).unwrap_or(i64::MAX))
    .bind(after)
    .bind(OrderCancelRequested::NAME)
    .bind(i64::try_from(max).unwrap_or(i64::MAX))
    .fetch_all(pool)
    .await?;
    Ok(orders)
}

/// The number of orders in compensation without progress since then, and one of them.
pub async fn stuck(pool: &PgPool, since: DateTime<Utc>) -> Result<Option<(i64, OrderId)>, Failure> {
    let undone = [Status::InventoryFailed, Status::ShippingFailed, Status::PaymentReversed];
    let stuck = sqlx::query_as(
        "SELECT count(*) OVER (), id
         FROM orders
         WHERE outcome IS NULL
             AND updated_at < $1
             AND (status = ANY($2)
                 OR status = ANY($3)
                 AND facts @> jsonb_build_array(jsonb_build_object('event', $4::TEXT)))
         ORDER BY id
         LIMIT 1",
    )
    .bind(since)
    .bind(undone.map(Status::name))
    .bind(Status::RUNNING.map(Status::name))
    .bind(OrderCancelRequested::NAME)
    .fetch_optional(pool)
    .await?;
    Ok(stuck)
}

database::row! {
    pub(super) struct ViewRow {
        id: OrderId,
        customer_id: Uuid,
        payment_method: String,
        total_amount: Decimal,
        created_at: DateTime<Utc>,
        items: String,
        facts: String,
    }
}

impl ViewRow {
    fn view(self) -> Result<View, Failure> {
        Ok(View {
            id: self.id,
            customer_id: self.customer_id,
            payment_method: self.payment_method.parse().map_err(Failure::permanent)?,
            total_amount: Money::new(self.total_amount).map_err(Failure::permanent)?,
            items: serde_json::from_str(&self.items).map_err(Failure::permanent)?,
            created_at: self.created_at,
            order: read_facts(&self.facts)?,
            waits_for: None,
        })
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.simple().fmt(out)
    }
}

impl FromStr for Cursor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let id = Uuid::try_parse(text).map_err(|_| "must be a next_cursor of an earlier answer")?;
        Ok(Self(id))
    }
}
