//! A span of a trace. Without a recorder it costs nothing.

use crate::{TraceParent, export};
use opentelemetry::{
    InstrumentationScope, KeyValue,
    trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceState},
};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, SpanData, SpanEvents, SpanLinks};
use std::{
    fmt::{self, Display},
    sync::Arc,
    time::SystemTime,
};

tokio::task_local! {
    static REQUEST_ID: Arc<str>;
}

/// Recorded when it ends; dropped before, it is discarded.
#[derive(Debug, Default)]
#[must_use = "a span is told when it ends"]
pub struct Span(Option<Box<SpanData>>);

impl Span {
    /// Begins under `parent`, or else a trace of its own. It is a no-op if traces are not exported,
    /// or if the caller has not sampled this one.
    pub fn begin(parent: Option<&str>, kind: SpanKind, name: fmt::Arguments<'_>) -> Self {
        if !export::wants_spans() {
            return Self::default();
        }
        let ids = RandomIdGenerator::default();
        match parent.and_then(|text| text.parse::<TraceParent>().ok()) {
            Some(parent) if !parent.flags.is_sampled() => Self::default(),
            Some(parent) => {
                let place = TraceParent { span: ids.new_span_id(), ..parent };
                Self::at(place, parent.span, kind, name)
            }
            None => {
                let (trace, span) = (ids.new_trace_id(), ids.new_span_id());
                let place = TraceParent { trace, span, flags: TraceFlags::SAMPLED };
                Self::at(place, SpanId::INVALID, kind, name)
            }
        }
    }

    fn at(place: TraceParent, parent: SpanId, kind: SpanKind, name: fmt::Arguments<'_>) -> Self {
        let TraceParent { trace, span, flags } = place;
        let now = now();
        Self(Some(Box::new(SpanData {
            span_context: SpanContext::new(trace, span, flags, false, TraceState::NONE),
            parent_span_id: parent,
            parent_span_is_remote: matches!(kind, SpanKind::Server | SpanKind::Consumer),
            span_kind: kind,
            name: name.to_string().into(),
            start_time: now,
            end_time: now,
            attributes: request_id()
                .map(|id| KeyValue::new("request_id", id))
                .into_iter()
                .collect(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: InstrumentationScope::builder("quadrille").build(),
        })))
    }

    /// Whether it is recorded, so that details are worth adding.
    pub const fn is_recorded(&self) -> bool {
        self.0.is_some()
    }

    /// Uses this id instead of a random one.
    pub fn known_as(mut self, id: u64) -> Self {
        if let Some(span) = &mut self.0 {
            let TraceParent { trace, flags, .. } = place(span);
            let id = SpanId::from(id);
            span.span_context = SpanContext::new(trace, id, flags, false, TraceState::NONE);
        }
        self
    }

    pub fn with(mut self, key: &'static str, value: impl Display) -> Self {
        if let Some(span) = &mut self.0 {
            span.attributes.push(KeyValue::new(key, value.to_string()));
        }
        self
    }

    pub fn with_number(mut self, key: &'static str, value: i64) -> Self {
        if let Some(span) = &mut self.0 {
            span.attributes.push(KeyValue::new(key, value));
        }
        self
    }

    /// The `traceparent` for its effects: its own, or the given one if it is not recorded.
    pub fn traceparent_or(&self, given: Option<&str>) -> Option<String> {
        match &self.0 {
            Some(span) => Some(place(span).to_string()),
            None => given.map(Into::into),
        }
    }

    pub fn end(self) {
        self.tell(Status::Unset);
    }

    pub fn fail(self, why: &str) {
        if self.0.is_some() {
            self.tell(Status::error(why.to_owned()));
        }
    }

    fn tell(self, status: Status) {
        if let Some(span) = self.0 {
            export::span(SpanData { status, end_time: now(), ..*span });
        }
    }
}

fn place(span: &SpanData) -> TraceParent {
    let context = &span.span_context;
    TraceParent { trace: context.trace_id(), span: context.span_id(), flags: context.trace_flags() }
}

/// Spans that begin while this works have the request's id.
pub async fn for_request<T>(id: Option<Arc<str>>, work: impl Future<Output = T>) -> T {
    match id {
        Some(id) => REQUEST_ID.scope(id, work).await,
        None => work.await,
    }
}

/// Of the request that this task works for.
pub fn request_id() -> Option<Arc<str>> {
    REQUEST_ID.try_with(Arc::clone).ok()
}

/// For log lines: the id of the trace, if it is exported.
pub fn trace_id(traceparent: Option<&str>) -> Option<&str> {
    let text = traceparent.filter(|_| export::wants_spans())?;
    let place: TraceParent = text.parse().ok()?;
    place.flags.is_sampled().then(|| &text[3..35])
}

#[expect(clippy::disallowed_methods, reason = "a span tells when things really happened")]
fn now() -> SystemTime {
    SystemTime::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_an_export_a_span_is_nothing_and_the_trace_goes_on_as_it_came() {
        let came = Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
        let span = Span::begin(came, SpanKind::Consumer, format_args!("process"));
        let span = span.known_as(1).with("order_id", "1").with_number("attempt", 2);
        assert!(!span.is_recorded());
        assert_eq!(span.traceparent_or(came).as_deref(), came);
        assert_eq!(span.traceparent_or(None), None);
        assert_eq!(trace_id(came), None);
    }
}
