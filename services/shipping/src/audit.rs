//! Reads shipping's rows for an audit.

use audit::{Scope, Shipment, Snapshot};
use database::PlainConnection;
use futures::TryStreamExt;

pub async fn read(
    connection: &mut PlainConnection,
    scope: &Scope,
    snapshot: &mut Snapshot,
) -> sqlx::Result<()> {
    let mut rows = sqlx::query_as(
        "SELECT order_id, status, tracking_code
         FROM shipments
         WHERE order_id BETWEEN $1 AND $2 AND ($3::UUID[] IS NULL OR order_id = ANY($3))",
    )
    .bind(scope.first)
    .bind(scope.last)
    .bind(&scope.only)
    .fetch(&mut *connection);
    while let Some((order_id, status, tracking_code)) = rows.try_next().await? {
        let status: String = status;
        let status = status.parse().map_err(|why: String| sqlx::Error::Decode(why.into()))?;
        snapshot.shipments.push(Shipment { order_id, status, tracking_code });
    }
    drop(rows);
    snapshot.cancel_marks = sqlx::query_scalar(
        "SELECT order_id
         FROM cancel_marks
         WHERE order_id BETWEEN $1 AND $2 AND ($3::UUID[] IS NULL OR order_id = ANY($3))",
    )
    .bind(scope.first)
    .bind(scope.last)
    .bind(&scope.only)
    .fetch_all(connection)
    .await?;
    Ok(())
}
