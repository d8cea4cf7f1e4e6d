//! Reads inventory's rows for an audit.

use audit::{Product, Reservation, Scope, Snapshot};
use database::PlainConnection;
use events::ProductId;
use futures::TryStreamExt;

pub async fn products(connection: &mut PlainConnection) -> sqlx::Result<Vec<Product>> {
    let products: Vec<(ProductId, i64, i64)> =
        sqlx::query_as("SELECT id, quantity_total, quantity_reserved FROM products")
            .fetch_all(connection)
            .await?;
    let products = products.into_iter();
    Ok(products.map(|(id, total, reserved)| Product { id, total, reserved }).collect())
}

pub async fn read(
    connection: &mut PlainConnection,
    scope: &Scope,
    snapshot: &mut Snapshot,
) -> sqlx::Result<()> {
    let mut rows = audit::select_in!(
        sqlx::query_as,
        scope,
        "SELECT order_id, status, ARRAY_REMOVE(ARRAY_AGG(product_id), NULL),
             ARRAY_REMOVE(ARRAY_AGG(quantity), NULL)
         FROM reservations LEFT JOIN reservation_items USING (order_id)",
        "order_id",
        " GROUP BY order_id, status"
    )
    .fetch(&mut *connection);
    while let Some((order_id, status, products, quantities)) = rows.try_next().await? {
        let (status, products, quantities): (String, Vec<ProductId>, Vec<i64>) =
            (status, products, quantities);
        let status = status.parse().map_err(|why: String| sqlx::Error::Decode(why.into()))?;
        let items = products.into_iter().zip(quantities).collect();
        snapshot.reservations.push(Reservation { order_id, status, items });
    }
    drop(rows);
    snapshot.refusals = audit::select_in!(
        sqlx::query_scalar,
        scope,
        "SELECT order_id
         FROM refusals",
        "order_id"
    )
    .fetch_all(connection)
    .await?;
    Ok(())
}
