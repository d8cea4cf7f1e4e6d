//! Reads payment's rows for an audit.

use audit::{Payment, Snapshot};
use events::OrderId;
use futures::TryStreamExt;
use rust_decimal::Decimal;
use sqlx::{FromRow, PgConnection};

#[derive(FromRow)]
struct Row {
    order_id: OrderId,
    status: String,
    amount: Decimal,
    attempts: i32,
    provider_ref: Option<String>,
    refund_ref: Option<String>,
}

pub async fn read(connection: &mut PgConnection, snapshot: &mut Snapshot) -> sqlx::Result<()> {
    let mut rows = sqlx::query_as(
        "SELECT order_id, status, amount, attempts, provider_ref, refund_ref
         FROM payments",
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
