//! Maintains the partitions of the inbox and the history: creates those to come and drops old ones.

use crate::Context;
use messaging::partitions::{HISTORY, INBOX};
use std::time::Duration;

/// Shorter than a retry schedule: without a partition for today every message fails.
pub const PERIOD: Duration = Duration::from_secs(20);

/// Any number of replicas may do it at once.
pub async fn tend(context: Context) -> anyhow::Result<()> {
    let pool = &context.message_store.pool;
    for (table, retention) in [(INBOX, context.retention), (HISTORY, context.message_store.history)]
    {
        table.make(pool).await?;
        let dropped = table.drop_old(pool, retention).await?;
        if dropped > 0 {
            tracing::info!(partitions = dropped, "dropped old partitions of {}", table.name());
        }
    }
    Ok(())
}
