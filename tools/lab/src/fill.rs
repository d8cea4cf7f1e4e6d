//! Writes past orders directly into the four databases, as the services would have left them, to
//! measure a system at its future size.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use futures::future::try_join_all;
use sqlx::{Connection, PgConnection};

/// Orders in one transaction of each database.
const CHUNK: u32 = 50_000;

/// Confirmed orders, evenly spread over a past period.
#[derive(Clone, Copy, Debug)]
pub struct Past {
    pub orders: u32,
    pub from: DateTime<Utc>,
    pub span: Duration,
}

/// `news` is called with the number of orders in each database.
pub async fn fill(
    databases: &BTreeMap<String, String>,
    past: Past,
    mut news: impl FnMut(u32),
) -> Result<()> {
    let connecting = databases.iter().map(|(service, url)| async move {
        let failed = || format!("the database of {service} is not reachable: run `make up`");
        let mut connection = PgConnection::connect(url).await.with_context(failed)?;
        sqlx::raw_sql(include_str!("fill/past.sql")).execute(&mut connection).await?;
        anyhow::Ok((service, connection))
    });
    let mut connections = try_join_all(connecting).await?;
    for first in (0..past.orders).step_by(CHUNK as usize) {
        let end = past.orders.min(first + CHUNK);
        let chunks = connections
            .iter_mut()
            .map(|(service, connection)| chunk(service, connection, past, (first, end)));
        try_join_all(chunks)
            .await
            .context("the four databases have different orders; `make down` deletes them")?;
        news(end);
    }
    // Done now, so that it does not disturb the measurement.
    let tidying = connections.iter_mut().map(|(_, connection)| async move {
        sqlx::raw_sql("VACUUM (ANALYZE)").execute(connection).await?;
        anyhow::Ok(())
    });
    try_join_all(tidying).await.map(drop)
}

async fn chunk(
    service: &str,
    connection: &mut PgConnection,
    past: Past,
    (first, end): (u32, u32),
) -> Result<()> {
    let rows = match service {
        "order" => include_str!("fill/order.sql"),
        "payment" => include_str!("fill/payment.sql"),
        "inventory" => include_str!("fill/inventory.sql"),
        _ => include_str!("fill/shipping.sql"),
    };
    let apart_ms = past.span.as_secs_f64() * 1000.0 / f64::from(past.orders);
    let mut tx = connection.begin().await?;
    sqlx::raw_sql("TRUNCATE past").execute(&mut *tx).await?;
    sqlx::query(include_str!("fill/chunk.sql"))
        .bind(past.from)
        .bind(apart_ms)
        .bind(i64::from(first))
        .bind(i64::from(end) - 1)
        .execute(&mut *tx)
        .await?;
    sqlx::raw_sql(rows).execute(&mut *tx).await?;
    Ok(tx.commit().await?)
}
