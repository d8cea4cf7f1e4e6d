//! The idempotency table neither grows for ever nor runs out of room.

use crate::Context;
use messaging::partitions;
use std::time::Duration;

pub const PERIOD: Duration = Duration::from_mins(10);

/// Any number of replicas may do it at once.
pub async fn tend(context: Context) -> anyhow::Result<()> {
    let (ledger, now) = (&context.ledger, context.world.now());
    partitions::make(&ledger.pool, now).await?;
    let dropped = partitions::drop_old(&ledger.pool, context.kept, now).await?;
    if dropped > 0 {
        tracing::info!(partitions = dropped, "old idempotency keys are dropped");
    }
    Ok(())
}
