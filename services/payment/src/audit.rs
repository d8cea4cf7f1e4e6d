//! Reads payment's rows: for an audit, and for an operator's query about an order.

use audit::{Payment, Scope, Snapshot};
use chrono::{DateTime, Utc};
use database::PlainConnection;
use events::OrderId;
use futures::TryStreamExt;
use rust_decimal::Decimal;
use serde::Serialize;

database::row! {
    struct Row {
        order_id: OrderId,
        status: String,
        amount: Decimal,
        attempts: i32,
        provider_ref: Option<String>,
        refund_ref: Option<String>,
    }
}

pub async fn read(
    connection: &mut PlainConnection,
    scope: &Scope,
    snapshot: &mut Snapshot,
) -> sqlx::Result<()> {
    let mut rows = audit::select_in!(
        sqlx::query_as,
        scope,
        "SELECT order_id, status, amount, attempts, provider_ref, refund_ref
         FROM payments",
        "order_id"
    )
    .fetch(connection);
    while let Some(Row { order_id, status, amount, attempts, provider_ref, refund_ref }) =
        rows.try_next().await?
    {
        let status = status.parse().map_err(|why: String| sqlx::Error::Decode(why.into()))?;
        let attempts = u32::try_from(attempts).unwrap_or(0);
        let payment = Payment { order_id, status, amount, attempts, provider_ref, refund_ref };
        snapshot.payments.push(payment);
    }
    Ok(())
}

/// Those of these orders that are charged, and their amounts.
pub async fn charged(
    connection: &mut PlainConnection,
    orders: &[OrderId],
) -> sqlx::Result<Vec<(OrderId, String)>> {
    let rows = sqlx::query_as(
        "SELECT order_id, amount::TEXT
         FROM payments
         WHERE order_id = ANY($1) AND status = 'APPROVED'
         ORDER BY order_id",
    );
    rows.bind(orders).fetch_all(connection).await
}

database::row! {
    /// The charge desk's work on an order.
    #[derive(Clone, Debug, Serialize)]
    pub struct Charge {
        pub status: String,
        pub attempts: i32,
        pub refund_attempts: i32,
        pub last_error: Option<String>,
        pub due_at: Option<DateTime<Utc>>,
        pub claimed_at: Option<DateTime<Utc>>,
    }
}

impl Charge {
    /// Whether the desk has anything to do about it.
    pub fn is_open(&self) -> bool {
        ["PENDING", "PROCESSING", "RETRYING", "REVERSING"].contains(&self.status.as_str())
    }
}

pub async fn charge(
    connection: &mut PlainConnection,
    order: OrderId,
) -> sqlx::Result<Option<Charge>> {
    let charge = sqlx::query_as(
        "SELECT status, attempts, refund_attempts, last_error, due_at,
             CASE WHEN claim IS NULL THEN NULL ELSE claimed_at END AS claimed_at
         FROM payments
         WHERE order_id = $1",
    );
    charge.bind(order).fetch_optional(connection).await
}
