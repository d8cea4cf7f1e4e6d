//! All SQL of loyalty.

use crate::Points;
use database::{Failure, Transaction};
use events::{OrderId, ProductId};
use futures::FutureExt;
use messaging::{Batch, Reply, Store};
use service::Context;

pub struct Accounts;

impl Store for Accounts {
    type Tx = Transaction;
    type State = Points;
    type Batch = Batch<Points>;

    fn load(
        &self,
        tx: &mut Transaction,
        orders: &[OrderId],
        _touched: &[ProductId],
    ) -> Reply<'static, Batch<Points>> {
        let query = tx.query("SELECT order_id, points FROM points WHERE order_id = ANY($1)");
        let rows = query.bind(orders).rows::<(OrderId, i64)>();
        let batch = async move {
            let known = rows.await?.into_iter();
            Ok(Batch::new(known.map(|(order, given)| (order, Points { given: Some(given) }))))
        };
        batch.boxed()
    }

    async fn save(&self, tx: &mut Transaction, batch: &Batch<Points>) -> Result<(), Failure> {
        let (orders, points): (Vec<_>, Vec<_>) =
            batch.changed().filter_map(|(order, points)| Some((order, points.given?))).unzip();
        tx.query(
            "INSERT INTO points (order_id, points)
             SELECT * FROM UNNEST($1::UUID[], $2::BIGINT[])",
        )
        .bind(orders)
        .bind(points)
        .run();
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
