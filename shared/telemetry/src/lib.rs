#![doc = include_str!("../README.md")]

mod export;
mod lines;
mod logs;
mod meters;
pub mod metrics;
mod sender;
mod span;
mod traceparent;

pub use export::{Export, flush, start};
pub use lines::flush_logs;
pub use logs::{LogFormat, logs, write_line};
pub use opentelemetry::trace::SpanKind;
pub use span::{Span, for_request, request_id, trace_id};
pub use traceparent::TraceParent;
