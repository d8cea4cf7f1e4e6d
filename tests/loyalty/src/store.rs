//! All SQL of loyalty.

use crate::Points;
use database::{Failure, Transaction};
use events::{OrderId, ProductId};
use messaging::{Batch, Store};
use service::Context;

pub struct Accounts;

impl Store for Accounts {
    type Tx = Transaction;
    type State = Points;
    type Batch = Batch<Points>;

    async fn load(
        &self,
        tx: &mut Transaction,
        orders: &[OrderId],
        _touched: &[ProductId],
    ) -> Result<Batch<Points>, Failure> {
        let rows: Vec<(OrderId, i64)> =
            sqlx::query_as("SELECT order_id, points FROM points WHERE order_id = ANY($1)")
                .bind(orders)
                .fetch_all(&mut **tx)
                .await?;
        let known = rows.into_iter().map(|(order, points)| (order, Points { given: Some(points) }));
        Ok(Batch::new(known))
    }

    async fn save(&self, tx: &mut Transaction, batch: &Batch<Points>) -> Result<(), Failure> {
        let (orders, points): (Vec<_>, Vec<_>) =
            batch.changed().filter_map(|(order, points)| Some((order, points.given?))).unzip();
        tx.defer(
            "INSERT INTO points (order_id, points)
             SELECT * FROM UNNEST($1::UUID[], $2::BIGINT[])",
        )
        .bind(orders)
        .bind(points);
        Ok(())
    }
}

/// The job: what is older than a year is good for nothing.
pub async fn expire(context: Context) -> anyhow::Result<()> {
    sqlx::query(
        "UPDATE points
         SET expired = TRUE
         WHERE NOT expired
         AND given_at < now() - INTERVAL '1 year'",
    )
    .execute(&context.message_store.pool)
    .await?;
    Ok(())
}
