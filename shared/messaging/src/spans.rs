//! Builds a message's spans by OpenTelemetry's conventions: published, and processed.

use crate::{Message, Outgoing, Publication, exchange_of, header};
use std::fmt::Display;
use telemetry::{Span, SpanKind};

/// A child of the span that created the event. Its id is the end of the event's id, so that an
/// event published again after a crash is the same on the wire.
pub fn of_publication(event: &Outgoing) -> Span {
    let Outgoing { id, event: name, order_id, trace, .. } = event;
    let span = Span::begin(trace.as_deref(), SpanKind::Producer, format_args!("publish {name}"));
    if !span.is_recorded() {
        return span;
    }
    let (_, tail) = id.as_u64_pair();
    let exchange = exchange_of(events::said_by(name));
    of_message(span.known_as(tail), name, id, order_id)
        .with("messaging.operation.type", "send")
        .with("messaging.operation.name", "publish")
        .with("messaging.destination.name", format_args!("{exchange}:{name}"))
}

/// The event as it is published: its consumers continue this span.
pub fn publication(event: &Outgoing, span: &Span) -> Publication {
    let Publication { exchange, routing_key, message } = event.publication();
    let message = match span.traceparent_or(None) {
        Some(trace) => message.with(header::TRACE, trace),
        None => message,
    };
    Publication { exchange, routing_key, message }
}

/// A child of the span that published the message, new for each attempt.
pub fn of_reaction(queue: &str, message: &Message) -> Span {
    let name = message.kind.as_deref().unwrap_or("message");
    let span = Span::begin(message.trace(), SpanKind::Consumer, format_args!("process {name}"));
    if !span.is_recorded() {
        return span;
    }
    let exchange = exchange_of(events::said_by(name));
    let [id, order] = [&message.id, &message.correlation_id].map(|id| id.as_deref().unwrap_or("?"));
    of_message(span, name, id, order)
        .with("messaging.operation.type", "process")
        .with("messaging.operation.name", "process")
        .with("messaging.destination.name", format_args!("{exchange}:{name}:{queue}"))
        .with_number("attempt", message.number(header::ATTEMPT).unwrap_or(0))
}

fn of_message(span: Span, name: &str, id: impl Display, order: impl Display) -> Span {
    span.with("messaging.system", "rabbitmq")
        .with("messaging.rabbitmq.destination.routing_key", name)
        .with("messaging.message.id", &id)
        .with("messaging.message.conversation_id", &order)
        .with("event_id", id)
        .with("order_id", order)
}
