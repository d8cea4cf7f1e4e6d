//! Maintains the partitions of the inbox: creates those to come and drops expired ones.

use crate::Context;
use messaging::partitions;
use std::time::Duration;

/// Shorter than a retry schedule: without a partition for today every message fails.
pub const PERIOD: Duration = Duration::from_secs(20);

/// Any number of replicas may do it at once.
pub async fn tend(context: Context) -> anyhow::Result<()> {
    let pool = &context.message_store.pool;
    partitions::make(pool).await?;
    let dropped = partitions::drop_old(pool, context.retention).await?;
    if dropped > 0 {
        tracing::info!(partitions = dropped, "dropped expired idempotency key partitions");
    }
    Ok(())
}
