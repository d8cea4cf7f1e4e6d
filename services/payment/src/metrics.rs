//! Records payment's spans and metrics: one span and one count per provider call, and gauges.

use crate::{
    payment::{Call, Charge, Status},
    store,
};
use service::{Context, seconds_since};
use telemetry::{Span, SpanKind, metrics};
use tokio::time::Instant;

/// A call to the provider.
pub struct ProviderCall {
    what: &'static str,
    span: Span,
    began: Instant,
}

impl ProviderCall {
    /// The outcome of the charge continues the call's span.
    pub fn begin(charge: &mut Charge) -> Self {
        let what = match charge.next_call {
            _ if charge.status == Status::Reversing => "refund",
            Call::Charge => "charge",
            Call::LookUp => "look-up",
            Call::Void => "void",
        };
        let trace = &mut charge.cause.trace;
        let span = Span::begin(trace.as_deref(), SpanKind::Client, format_args!("gateway {what}"))
            .with("order_id", charge.order_id)
            .with("event_id", charge.cause.event_id)
            .with_number("attempt", charge.attempts.into());
        *trace = span.traceparent_or(trace.as_deref());
        Self { what, span, began: Instant::now() }
    }

    pub fn end(self, result: &'static str) {
        metrics::CALLS.record(self.began.elapsed(), [self.what, result]);
        self.span.with("result", result).end();
    }
}

/// The number of payments in each open state, and the age of the oldest open refund.
pub async fn payments(context: Context) -> anyhow::Result<()> {
    for (status, count, oldest) in store::count_open(&context.message_store.pool).await? {
        metrics::PAYMENTS.set(count as f64, [status.name()]);
        if status == Status::Reversing {
            metrics::REFUNDS.set(count as f64, []);
            metrics::REFUND_AGE.set(seconds_since(oldest, &context), []);
        }
    }
    Ok(())
}
