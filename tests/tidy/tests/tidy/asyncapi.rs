//! Writes the events, with their publishers and subscribers, as AsyncAPI 3 and JSON Schema, from
//! `SAGA`, the types of the payloads, and the wire fixtures.

use events::{ADD_ONS, EVENTS, OPENINGS, SAGA, Step, said_by, schemas, schemas_beside, type_name};
use messaging::{dead_letters, exchange_of, header, queue_name};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use tidy::{list, read};

const FOLDER: &str = "docs/events";
const FIXTURES: &str = "shared/events/fixtures";
const ABOUT: &str = "\
    Four services process an order as a choreographed saga: each consumes events, changes its own \
    database and publishes events. A service publishes to its own topic exchange; each reaction \
    has its own queue. The body is the event's JSON \
    and nothing else; the envelope is in AMQP's properties: `message_id` (a UUIDv7, the same on \
    every redelivery; it includes the time), `type` (the event's name, like the routing \
    key), `correlation_id` (the order), `timestamp`, `app_id` (the publisher), `content_type`. \
    Messages may be repeated and reordered. How events may change: README.md beside this file.";

/// The files that are written by a program, by their paths.
pub fn event_documents() -> BTreeMap<String, String> {
    let all = schemas().into_iter().chain(schemas_beside());
    let shapes: BTreeMap<_, _> = all.map(|(event, schema)| (event, schema.to_value())).collect();
    let mut documents: BTreeMap<_, _> = shapes
        .iter()
        .map(|(event, schema)| (format!("{FOLDER}/schemas/{event}.json"), pretty(schema)))
        .collect();
    documents.insert(format!("{FOLDER}/asyncapi.json"), pretty(&asyncapi(&shapes, ADD_ONS)));
    documents
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

/// With the events of these services beside the saga.
fn asyncapi(shapes: &BTreeMap<&str, Value>, add_ons: &[Step]) -> Value {
    let beside = add_ons.iter().flat_map(|step| step.may_say);
    let events: Vec<_> = EVENTS.iter().chain(beside).copied().collect();
    let steps = [SAGA, add_ons].concat();
    let said = events.iter().map(|event| ((*event).to_owned(), exchange(event)));
    let heard = steps.iter().map(|step| (queue_name(step.service, step.hears), queue(step)));
    let says = events
        .iter()
        .map(|event| (format!("{}.says.{event}", said_by(event)), send(event, &steps)));
    let hears = steps.iter().map(|it| (format!("{}.hears.{}", it.service, it.hears), receive(it)));
    let messages = events.iter().map(|event| ((*event).to_owned(), message(event, &shapes[event])));
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Quadrille events",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": { "name": "MIT" },
        },
        "defaultContentType": "application/json",
        "servers": { "rabbitmq": {
            "host": "127.0.0.1:5672",
            "protocol": "amqp",
            "protocolVersion": "0.9.1",
            "description": "RabbitMQ; each service has a user of its own.",
        }},
        "channels": said.chain(heard).collect::<Map<_, _>>(),
        "operations": says.chain(hears).collect::<Map<_, _>>(),
        "components": { "messages": messages.collect::<Map<_, _>>() },
    })
}

fn exchange(event: &str) -> Value {
    let name = exchange_of(said_by(event));
    json!({
        "address": event,
        "title": format!("{event}, as published"),
        "messages": { event: reference("components/messages", event) },
        "bindings": { "amqp": {
            "is": "routingKey",
            "exchange": {
                "name": name, "type": "topic", "durable": true, "autoDelete": false, "vhost": "/",
            },
            "bindingVersion": "0.3.0",
        }},
    })
}

fn queue(step: &Step) -> Value {
    let (event, name) = (step.hears, queue_name(step.service, step.hears));
    let dead = dead_letters(&name);
    let about = if step.compensates {
        format!("A compensation: retried for ever; other messages become dead letters in `{dead}`.")
    } else {
        format!("Its dead-letter queue is `{dead}`.")
    };
    json!({
        "address": name,
        "title": format!("{event}, as {} hears it", step.service),
        "description": about,
        "messages": { event: reference("components/messages", event) },
        "bindings": { "amqp": {
            "is": "queue",
            "queue": {
                "name": name, "durable": true, "exclusive": false, "autoDelete": false,
                "vhost": "/",
            },
            "bindingVersion": "0.3.0",
        }},
    })
}

fn send(event: &str, steps: &[Step]) -> Value {
    let service = said_by(event);
    let causes = steps.iter().filter(|step| step.may_say.contains(&event));
    let mut causes: Vec<_> = causes.map(|step| step.hears).collect();
    if OPENINGS.contains(&event) {
        causes.push("a request from outside");
    }
    json!({
        "action": "send",
        "channel": reference("channels", event),
        "messages": [reference(&format!("channels/{event}/messages"), event)],
        "summary": format!("{service} says {event} after {}.", causes.join(" or ")),
        "tags": [{ "name": service }],
        "bindings": { "amqp": { "deliveryMode": 2, "mandatory": true, "bindingVersion": "0.3.0" } },
    })
}

fn receive(step: &Step) -> Value {
    let (service, event) = (step.service, step.hears);
    let queue = queue_name(service, event);
    let answers =
        if step.may_say.is_empty() { "nothing".into() } else { step.may_say.join(" or ") };
    json!({
        "action": "receive",
        "channel": reference("channels", &queue),
        "messages": [reference(&format!("channels/{queue}/messages"), event)],
        "summary": format!("{service} consumes {event}, and then publishes {answers}."),
        "tags": [{ "name": service }],
        "bindings": { "amqp": { "ack": true, "bindingVersion": "0.3.0" } },
    })
}

fn message(event: &str, schema: &Value) -> Value {
    let fixture = newest_fixture(event);
    let headers = fixture.as_ref().map(|fixture| &fixture["properties"]["headers"]);
    let mut message = json!({
        "name": event,
        "title": type_name(event),
        "summary": schema["description"],
        "contentType": "application/json",
        "correlationId": {
            "description": "The order.", "location": "$message.payload#/order_id",
        },
        "headers": envelope(event, headers.map_or(&Value::Null, |it| &it[header::VERSION])),
        "payload": { "$ref": format!("./schemas/{event}.json") },
        "bindings": { "amqp": { "messageType": event, "bindingVersion": "0.3.0" } },
    });
    if let Some(fixture) = &fixture {
        let example = json!({ "name": "fixture", "headers": headers, "payload": fixture["body"] });
        message["examples"] = json!([example]);
    }
    message
}

/// The version is known where there is a fixture.
fn envelope(event: &str, version: &Value) -> Value {
    let mut required = vec![header::VERSION];
    required.extend((!OPENINGS.contains(&event)).then_some(header::CAUSE));
    let text = |about: &str| json!({ "type": "string", "description": about });
    let number = |about: &str| json!({ "type": "integer", "minimum": 1, "description": about });
    let cause = json!({
        "type": "string", "format": "uuid", "description": "The event that caused this one.",
    });
    json!({
        "type": "object",
        "required": required,
        "properties": {
            header::VERSION: if version.is_null() { number("The body's.") } else { json!({ "const": version }) },
            header::CAUSE: cause,
            header::TRACE: text("W3C Trace Context."),
            header::ATTEMPT: number("Failed attempts so far."),
            header::REASON: text("Why the last attempt failed, or why the message is dead."),
            header::QUEUE: text("The original queue, to which it returns."),
            header::REPLAYED: number("How often an operator has replayed it."),
        },
    })
}

fn reference(folder: &str, name: &str) -> Value {
    json!({ "$ref": format!("#/{folder}/{name}") })
}

/// The newest fixture of an event: its current format on the wire. Those beside the saga may have
/// none.
fn newest_fixture(event: &str) -> Option<Value> {
    let numbered = list(FIXTURES).into_iter().filter_map(|path| {
        let name = path.rsplit('/').next()?;
        let number: u32 =
            name.strip_prefix(event)?.strip_prefix('.')?.strip_suffix(".json")?.parse().ok()?;
        Some((number, path))
    });
    let newest = numbered.max();
    assert!(newest.is_some() || !EVENTS.contains(&event), "{FIXTURES} has none of {event}");
    let (_, path) = newest?;
    Some(serde_json::from_str(&read(&path)).unwrap_or_else(|why| panic!("{path}: {why}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_events_of_services_beside_the_saga_are_in_it_too() {
        let shapes: BTreeMap<_, _> = schemas()
            .into_iter()
            .map(|(event, schema)| (event, schema.to_value()))
            .chain([("mail.sent", json!({ "description": "A mail is sent." }))])
            .collect();
        let step = |service, hears, may_say| Step { service, hears, may_say, compensates: false };
        let mail = step("mail", "payment.approved", &["mail.sent"]);
        let all = asyncapi(&shapes, &[mail, step("post", "mail.sent", &[])]);
        assert_eq!(all["channels"]["post.mail-sent"]["address"], "post.mail-sent");
        let says = &all["operations"]["mail.says.mail.sent"]["summary"];
        assert_eq!(says, "mail says mail.sent after payment.approved.");
        assert!(all["operations"]["mail.hears.payment.approved"].is_object());
        let message = &all["components"]["messages"]["mail.sent"];
        assert_eq!(message["summary"], "A mail is sent.");
        assert_eq!(message["headers"]["properties"][header::VERSION]["type"], "integer");
    }
}
