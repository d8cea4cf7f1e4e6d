//! Reads shipping's rows for an audit.

use audit::{Shipment, Snapshot};
use database::PlainConnection;
use futures::TryStreamExt;

pub async fn read(connection: &mut PlainConnection, snapshot: &mut Snapshot) -> sqlx::Result<()> {
    let mut rows = sqlx::query_as("SELECT order_id, status, tracking_code FROM shipments")
        .fetch(&mut *connection);
    while let Some((order_id, status, tracking_code)) = rows.try_next().await? {
        let status: String = status;
        let status = status.parse().map_err(|why: String| sqlx::Error::Decode(why.into()))?;
        snapshot.shipments.push(Shipment { order_id, status, tracking_code });
    }
    drop(rows);
    snapshot.cancel_marks =
        sqlx::query_scalar("SELECT order_id FROM cancel_marks").fetch_all(connection).await?;
    Ok(())
}
