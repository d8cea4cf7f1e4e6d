//! Records how many orders are open, and how many are stuck: no step of theirs will happen by
//! itself.

use crate::store;
use service::Context;
use std::time::Duration;
use telemetry::metrics;

/// Without a deadline no order is stuck.
pub async fn orders(context: Context, deadline: Duration) -> anyhow::Result<()> {
    let pool = &context.message_store.pool;
    metrics::RUNNING.set(store::running(pool).await? as f64, []);
    if !deadline.is_zero() {
        let stuck = store::stuck(pool, context.env.now() - deadline).await?;
        metrics::STUCK.set(stuck.map_or(0, |(count, _)| count) as f64, []);
    }
    Ok(())
}
