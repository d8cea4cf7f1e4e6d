//! Checks each event on the wire against `shared/events/fixtures`: the last file of an event is its
//! present form, byte by byte; earlier files are forms that may still be in flight.

mod samples;

pub(super) use samples::all as samples;

use super::{message, properties};
use crate::{Header, Message, Outgoing, Queue};
use events::{EVENTS, Event};
use lapin::types::ShortString;
use reaction::{Decision, Heard, On};
use serde_json::{Map, Value, json};
use std::{env, fs, path::PathBuf};

/// Consumes everything.
struct Anyone;

impl<E: Event> On<E> for Anyone {
    fn on(self, _: &Heard<E>) -> Decision<Self> {
        Decision::nothing()
    }
}

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../events/fixtures"))
}

/// All fixtures of an event, the oldest first.
fn fixtures_of(event: &str) -> Vec<String> {
    let paths = (1..).map(|number| folder().join(format!("{event}.{number}.json")));
    paths.map_while(|path| fs::read_to_string(path).ok()).collect()
}

fn is_updating() -> bool {
    env::var_os("UPDATE_FIXTURES").is_some()
}

/// Readable in a review: the body is shown as its bytes are.
fn written(outgoing: &Outgoing) -> String {
    let publication = outgoing.publication();
    let properties = properties(&publication.message);
    let text = |short: &Option<ShortString>| short.as_ref().map(ToString::to_string);
    let headers = message(&properties, vec![]).headers.into_iter().map(|(name, value)| {
        let value = match value {
            Header::Text(text) => Value::from(text),
            Header::Number(number) => Value::from(number),
        };
        (name, value)
    });
    let envelope = json!({
        "exchange": publication.exchange,
        "properties": {
            "app_id": text(properties.app_id()),
            "content_type": text(properties.content_type()),
            "correlation_id": text(properties.correlation_id()),
            "delivery_mode": properties.delivery_mode(),
            "headers": headers.collect::<Map<_, _>>(),
            "message_id": text(properties.message_id()),
            "timestamp": properties.timestamp(),
            "type": text(properties.kind()),
        },
        "routing_key": publication.routing_key,
    });
    let body = str::from_utf8(&publication.message.body).expect("JSON is text");
    format!("{}{BEFORE_BODY}{body}\n}}\n", format!("{envelope:#}").trim_end_matches("\n}"))
}

const BEFORE_BODY: &str = ",\n  \"body\": ";

fn read(fixture: &str) -> Message {
    let whole: Value = serde_json::from_str(fixture).expect("a fixture is JSON");
    let properties = &whole["properties"];
    let text = |name: &str| properties[name].as_str().map(str::to_owned);
    let headers = properties["headers"].as_object().into_iter().flatten();
    let headers = headers.map(|(name, value)| {
        let value = value.as_i64().map(Header::Number);
        let value = value.or_else(|| properties["headers"][name].as_str().map(Header::from));
        (name.clone(), value.expect("a header is a text or a number"))
    });
    let (_, body) = fixture.split_once(BEFORE_BODY).expect("a fixture ends with its body");
    Message {
        id: text("message_id"),
        kind: text("type"),
        correlation_id: text("correlation_id"),
        app_id: text("app_id"),
        timestamp: properties["timestamp"].as_u64(),
        content_type: text("content_type"),
        headers: headers.collect(),
        body: body.trim_end_matches("\n}\n").into(),
    }
}

/// One event, with its type erased.
pub(super) struct Sample {
    pub outgoing: Outgoing,
    pub decode: fn(&Message) -> Result<Value, String>,
}

fn decode<E: Event>(message: &Message) -> Result<Value, String> {
    Queue::<Anyone>::of::<E>("anyone").decode(message, None)?;
    let event: E = serde_json::from_slice(&message.body).map_err(|why| why.to_string())?;
    serde_json::to_value(event).map_err(|why| why.to_string())
}

#[test]
fn what_is_said_today_is_the_last_fixture_of_each_event() {
    let samples = samples::all();
    let named: Vec<_> = samples.iter().map(|sample| sample.outgoing.event.as_str()).collect();
    assert_eq!(named, EVENTS, "each event has its sample");
    for Sample { outgoing, .. } in samples {
        let (event, wanted) = (&outgoing.event, written(&outgoing));
        let known = fixtures_of(event);
        if known.last() == Some(&wanted) {
            continue;
        }
        let next = folder().join(format!("{event}.{}.json", known.len() + 1));
        assert!(
            is_updating(),
            "{event} is not said as its last fixture has it. If that is meant \
             (docs/events/README.md tells what may change), \
             `UPDATE_FIXTURES=1 cargo test -p quadrille-messaging --lib fixtures` writes the next \
             one, {}; those before it stay.\nIt is said like this:\n{wanted}",
            next.display()
        );
        fs::write(next, wanted).expect("it can be written");
    }
}

#[test]
fn whatever_was_ever_said_is_still_understood() {
    if is_updating() {
        return;
    }
    let mut count = 0;
    for Sample { outgoing, decode } in samples::all() {
        for fixture in fixtures_of(&outgoing.event) {
            let message = read(&fixture);
            let understood = decode(&message).unwrap_or_else(|why| panic!("{why}:\n{fixture}"));
            let body: Value = serde_json::from_slice(&message.body).expect("it is JSON");
            let (Value::Object(understood), Value::Object(said)) = (understood, body) else {
                panic!("no event is anything but an object:\n{fixture}")
            };
            let lost = said.iter().find(|(name, value)| understood.get(*name) != Some(value));
            assert_eq!(lost, None, "not understood any more:\n{fixture}");
            count += 1;
        }
    }
    let files = fs::read_dir(folder()).expect("there are fixtures").count();
    assert_eq!(
        count, files,
        "fixtures are numbered from 1 without a gap, and named by their event"
    );
}

#[test]
fn a_fixture_is_read_as_it_was_written() {
    for Sample { outgoing, .. } in samples::all() {
        assert_eq!(read(&written(&outgoing)), outgoing.publication().message);
    }
}
