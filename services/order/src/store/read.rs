//! Orders as they are shown.

use super::StoredFact;
use crate::{
    order::{Order, Status},
    view::View,
};
use chrono::{DateTime, Utc};
use database::{Failure, PgConnection, PgPool};
use events::{Event, Money, OrderCancelRequested, OrderId, PaymentMethod};
use rust_decimal::Decimal;
use sqlx::{FromRow, Postgres, QueryBuilder};
use std::{fmt, str::FromStr};
use uuid::Uuid;

/// In one statement, so that an order is seen at one moment, and the filter sees what is shown.
const VIEW: &str = "
    SELECT id, customer_id, payment_method, total_amount, created_at,
        (SELECT json_agg(item ORDER BY line) FROM order_items AS item WHERE order_id = id)::TEXT
            AS items,
        (SELECT json_agg(fact) FROM order_facts AS fact WHERE order_id = id)::TEXT AS facts
    FROM ";

pub async fn get(pool: &PgPool, id: OrderId) -> Result<Option<View>, Failure> {
    let row: Option<ViewRow> = QueryBuilder::<Postgres>::new(VIEW)
        .push("orders WHERE id = ")
        .push_bind(id)
        .build_query_as()
        .fetch_optional(pool)
        .await?;
    row.map(ViewRow::view).transpose()
}

/// Only what it has heard; `None` where there is no such order.
pub async fn order(pool: &PgPool, id: OrderId) -> Result<Option<Order>, Failure> {
    let facts: Option<String> = sqlx::query_scalar(
        "SELECT json_agg(fact)::TEXT
         FROM order_facts AS fact
         WHERE order_id = $1",
    )
    .bind(id)
    .fetch_one(pool)
    .await?;
    facts.map(|facts| read_facts(&facts)).transpose()
}

/// Which orders a list shows.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub status: Option<Status>,
    pub customer_id: Option<Uuid>,
    /// Where the last page ended.
    pub after: Option<Cursor>,
    pub limit: usize,
}

/// The place of an order among all, newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    created_at: DateTime<Utc>,
    id: OrderId,
}

/// A page of orders, newest first, and where the next one begins if there is one.
pub async fn list(pool: &PgPool, filter: &Filter) -> Result<(Vec<View>, Option<Cursor>), Failure> {
    let mut query = QueryBuilder::<Postgres>::new(VIEW);
    query.push("(SELECT * FROM orders WHERE TRUE");
    if let Some(status) = filter.status {
        query.push(" AND status = ").push_bind(status.name());
    }
    if let Some(customer) = filter.customer_id {
        query.push(" AND customer_id = ").push_bind(customer);
    }
    if let Some(Cursor { created_at, id }) = filter.after {
        query.push(" AND (created_at, id) < (").push_bind(created_at);
        query.push(", ").push_bind(id).push(")");
    }
    let one_more = i64::try_from(filter.limit).unwrap_or(i64::MAX).saturating_add(1);
    query.push(" ORDER BY created_at DESC, id DESC LIMIT ").push_bind(one_more);
    query.push(") AS page ORDER BY created_at DESC, id DESC");
    let rows: Vec<ViewRow> = query.build_query_as().fetch_all(pool).await?;
    let more = rows.len() > filter.limit;
    let views: Vec<View> =
        rows.into_iter().take(filter.limit).map(ViewRow::view).collect::<Result<_, _>>()?;
    let last = views.last().filter(|_| more);
    let next = last.map(|view| Cursor { created_at: view.created_at, id: view.id });
    Ok((views, next))
}

/// What the request to cancel carries of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cancellable {
    pub payment_method: PaymentMethod,
    pub total_amount: Money,
    pub trace: Option<String>,
}

pub async fn cancellable(
    connection: &mut PgConnection,
    id: OrderId,
) -> Result<Option<Cancellable>, Failure> {
    let row: Option<(String, Decimal, Option<String>)> = sqlx::query_as(
        "SELECT payment_method, total_amount, trace
         FROM orders
         WHERE id = $1",
    )
    .bind(id)
    .fetch_optional(connection)
    .await?;
    let Some((payment_method, total_amount, trace)) = row else {
        return Ok(None);
    };
    let payment_method = payment_method.parse().map_err(Failure::data)?;
    let total_amount = Money::new(total_amount).map_err(Failure::data)?;
    Ok(Some(Cancellable { payment_method, total_amount, trace }))
}

/// Orders placed before that moment that run on as if nothing were wrong, oldest first.
pub async fn overdue(pool: &PgPool, before: DateTime<Utc>) -> Result<Vec<OrderId>, Failure> {
    let orders = sqlx::query_scalar(
        "SELECT id
         FROM orders
         WHERE status = ANY($1)
             AND created_at < $2
             AND NOT EXISTS (SELECT FROM order_facts WHERE order_id = id AND event = $3)
         ORDER BY created_at
         LIMIT 100",
    )
    .bind(Status::RUNNING.map(Status::name))
    .bind(before)
    .bind(OrderCancelRequested::NAME)
    .fetch_all(pool)
    .await?;
    Ok(orders)
}

/// How many orders are being undone and have made no progress since then, and one of them.
pub async fn stuck(pool: &PgPool, since: DateTime<Utc>) -> Result<Option<(i64, OrderId)>, Failure> {
    let undone = [Status::InventoryFailed, Status::ShippingFailed, Status::PaymentReversed];
    let stuck = sqlx::query_as(
        "SELECT count(*) OVER (), id
         FROM orders
         WHERE updated_at < $1
             AND (status = ANY($2)
                 OR status = ANY($3)
                 AND EXISTS (SELECT FROM order_facts WHERE order_id = id AND event = $4))
         ORDER BY created_at
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

#[derive(FromRow)]
struct ViewRow {
    id: OrderId,
    customer_id: Uuid,
    payment_method: String,
    total_amount: Decimal,
    created_at: DateTime<Utc>,
    items: Option<String>,
    facts: Option<String>,
}

impl ViewRow {
    fn view(self) -> Result<View, Failure> {
        let items = self.items.as_deref().unwrap_or("[]");
        Ok(View {
            id: self.id,
            customer_id: self.customer_id,
            payment_method: self.payment_method.parse().map_err(Failure::data)?,
            total_amount: Money::new(self.total_amount).map_err(Failure::data)?,
            items: serde_json::from_str(items).map_err(Failure::data)?,
            created_at: self.created_at,
            order: read_facts(self.facts.as_deref().unwrap_or("[]"))?,
            waits_for: None,
        })
    }
}

fn read_facts(json: &str) -> Result<Order, Failure> {
    let facts: Vec<StoredFact> = serde_json::from_str(json).map_err(Failure::data)?;
    Ok(Order::new(facts.into_iter().filter_map(StoredFact::fact)))
}

impl fmt::Display for Cursor {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:x}-{}", self.created_at.timestamp_micros(), self.id.simple())
    }
}

impl FromStr for Cursor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = || {
            let (at, id) = text.split_once('-')?;
            let created_at = DateTime::from_timestamp_micros(i64::from_str_radix(at, 16).ok()?)?;
            Some(Self { created_at, id: Uuid::try_parse(id).ok()? })
        };
        read().ok_or_else(|| "must be a next_cursor of an earlier answer".into())
    }
}
