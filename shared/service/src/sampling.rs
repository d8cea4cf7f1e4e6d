//! Samples gauges by periodic queries: queue lengths, and the age of the oldest entry.

use crate::Context;
use futures::future::BoxFuture;
use std::{sync::Arc, time::Duration};
use telemetry::metrics;
use tokio::time::Instant;
use uuid::Uuid;

pub type Sample = Arc<dyn Fn(Context) -> BoxFuture<'static, anyhow::Result<()>> + Send + Sync>;

const PERIOD: Duration = Duration::from_secs(2);
/// A slow sample is repeated less often: it takes a twentieth of the time at most, up to the
/// longest period.
const REST: u32 = 20;
const PERIOD_MAX: Duration = Duration::from_secs(30);

/// Samples until the service stops, if metrics are read.
pub async fn run(samples: Vec<Sample>, context: Context) {
    if metrics::wanted() {
        tokio::select! {
            () = context.stop.cancelled() => {}
            () = look(&samples, &context) => {}
        }
    }
}

async fn look(samples: &[Sample], context: &Context) {
    let mut rest = PERIOD;
    loop {
        tokio::time::sleep(rest).await;
        let began = Instant::now();
        for sample in samples {
            if let Err(why) = sample(context.clone()).await {
                // The database is unavailable, which is logged elsewhere.
                tracing::debug!("a gauge keeps its old value: {why:#}");
            }
        }
        rest = (began.elapsed() * REST).clamp(PERIOD, PERIOD_MAX);
    }
}

/// Events in the outbox: not yet published, or not yet deleted.
pub async fn outbox(context: Context) -> anyhow::Result<()> {
    let (count, parked, oldest): (i64, i64, Option<Uuid>) = sqlx::query_as(
        "SELECT COUNT(*), COUNT(parked_at),
             (SELECT event_id FROM outbox WHERE parked_at IS NULL ORDER BY event_id LIMIT 1)
         FROM outbox",
    )
    .fetch_one(&context.message_store.pool)
    .await?;
    metrics::OUTBOX.set(count as f64, []);
    metrics::OUTBOX_PARKED.set(parked as f64, []);
    metrics::OUTBOX_AGE.set(seconds_since(oldest, &context), []);
    Ok(())
}

/// The age of the event, by its id; 0 without an event.
pub fn seconds_since(event: Option<Uuid>, context: &Context) -> f64 {
    let ago = event.and_then(events::said_at).map(|said| context.env.now() - said);
    ago.map_or(0, |ago| ago.num_seconds().max(0)) as f64
}
