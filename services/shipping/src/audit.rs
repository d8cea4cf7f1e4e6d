//! Reads shipping's rows for an audit.

use audit::{Scope, Shipment, Snapshot};
use database::PlainConnection;
use futures::TryStreamExt;

pub async fn read(
    connection: &mut PlainConnection,
    scope: &Scope,
    snapshot: &mut Snapshot,
) -> sqlx::Result<()> {
    let mut rows = audit::select_in!(
        sqlx::query_as,
        scope,
        "SELECT order_id, status, tracking_code
         FROM shipments",
        "order_id"
    )
    .fetch(&mut *connection);
    while let Some((order_id, status, tracking_code)) = rows.try_next().await? {
        let status: String = status;
        let status = status.parse().map_err(|why: String| sqlx::Error::Decode(why.into()))?;
        snapshot.shipments.push(Shipment { order_id, status, tracking_code });
    }
    drop(rows);
    snapshot.cancel_marks = audit::select_in!(
        sqlx::query_scalar,
        scope,
        "SELECT order_id
         FROM cancel_marks",
        "order_id"
    )
    .fetch_all(connection)
    .await?;
    Ok(())
}
