//! A reaction as the consumer loop sees it: a queue whose messages are decoded into decisions.

use crate::{Handled, Message, header, queue_name};
use chrono::{DateTime, Utc};
use events::{Event, EventId, OrderId, ProductId, SAGA, Step, said_at};
use reaction::{Cause, Decision, Heard, On};
use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};
use uuid::Uuid;

/// One reaction of a service with states `S`, with its event's type erased.
pub struct Queue<S> {
    pub name: String,
    pub event: &'static str,
    pub compensates: bool,
    /// The reaction can be deferred: see `Step::can_wait`.
    pub can_wait: bool,
    decode: fn(&Message, Option<String>) -> Result<Received<S>, String>,
}

impl<S> Clone for Queue<S> {
    fn clone(&self) -> Self {
        Self { name: self.name.clone(), ..*self }
    }
}

/// A decoded message, with the decision that awaits a state.
pub struct Received<S> {
    pub handled: Handled,
    pub said_at: DateTime<Utc>,
    pub cause: Cause,
    pub touches: Vec<ProductId>,
    pub decide: Arc<dyn Fn(S) -> Decision<S> + Send + Sync>,
}

impl<S> Received<S> {
    pub const fn order_id(&self) -> OrderId {
        self.handled.order_id
    }
}

impl<S: 'static> Queue<S> {
    pub fn of<E: Event>(service: &str) -> Self
    where
        S: On<E>,
    {
        let step = SAGA.iter().find(|step| step.service == service && step.hears == E::NAME);
        Self {
            name: queue_name(service, E::NAME),
            event: E::NAME,
            compensates: step.is_some_and(|step| step.compensates),
            can_wait: step.is_some_and(Step::can_wait),
            decode: receive::<E, S>,
        }
    }

    /// The result continues `trace`. The error is the reason for the dead letter.
    pub fn decode(&self, message: &Message, trace: Option<String>) -> Result<Received<S>, String> {
        catch_unwind(AssertUnwindSafe(|| (self.decode)(message, trace)))
            .unwrap_or_else(|panic| Err(panic_text(&*panic)))
    }
}

fn receive<E: Event, S: On<E> + 'static>(
    message: &Message,
    trace: Option<String>,
) -> Result<Received<S>, String> {
    let heard: Heard<E> = read(message, trace)?;
    let handled = Handled {
        event_id: heard.id,
        event: E::NAME,
        order_id: heard.order_id(),
        digest: message.digest(),
    };
    let (said_at, cause, touches) = (heard.at, heard.as_cause(), S::touches(&heard.event));
    let decide = Arc::new(move |state: S| state.on(&heard));
    Ok(Received { handled, said_at, cause, touches, decide })
}

fn read<E: Event>(message: &Message, trace: Option<String>) -> Result<Heard<E>, String> {
    let kind = message.kind.as_deref().ok_or("the property type is missing")?;
    if kind != E::NAME {
        return Err(format!("type {kind:?} does not match this queue's {:?}", E::NAME));
    }
    let version = message.number(header::VERSION).ok_or("the header schema-version is missing")?;
    let is_known = |version: &u16| (E::OLDEST..=E::VERSION).contains(version);
    let version = u16::try_from(version).ok().filter(is_known).ok_or_else(|| {
        let (oldest, newest) = (E::OLDEST, E::VERSION);
        let known = if oldest == newest { "" } else { &*format!("{oldest} to ") };
        format!("unknown schema-version {version}; this consumer knows {known}{newest}")
    })?;
    let id = message.id.as_deref().ok_or("the property message_id is missing")?;
    let (id, at) = event_id(id)?;
    if holds_nul(&message.body) {
        return Err("the body contains a NUL character, which Postgres cannot store".into());
    }
    let event = E::of_version(version, &message.body)
        .map_err(|why| format!("the body is not a valid {}: {why}", E::NAME))?;
    let order = event.order_id().to_string();
    if message.correlation_id.as_ref().is_some_and(|id| *id != order) {
        return Err("correlation_id and order_id differ".into());
    }
    let caused_by = match message.text(header::CAUSE) {
        None => None,
        Some(text) => {
            Some(text.parse().map_err(|_| format!("causation-id {text:?} is not a UUID"))?)
        }
    };
    Ok(Heard { event, id, at, caused_by, trace })
}

/// As an escape sequence, the only form of NUL in JSON.
fn holds_nul(json: &[u8]) -> bool {
    let mut rest = json;
    while let Some(place) = rest.iter().position(|byte| *byte == b'\\') {
        rest = &rest[place + 1..];
        if rest.starts_with(b"u0000") {
            return true;
        }
        // The escaped character may be a backslash itself.
        rest = rest.get(1..).unwrap_or_default();
    }
    false
}

pub fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| panic.downcast_ref::<String>().cloned());
    format!("panic: {}", text.as_deref().unwrap_or("without a message"))
}

fn event_id(text: &str) -> Result<(EventId, DateTime<Utc>), String> {
    let id = Uuid::try_parse(text).ok();
    id.and_then(|id| Some((id, said_at(id)?)))
        .ok_or_else(|| format!("message_id {text:?} is not a UUID of version 7"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::OrderId;
    use serde::{Deserialize, Serialize};
    use serde_json::{Value, json};

    /// `payment.approved` as a later release might have it: in version 2 the amount has a
    /// currency, in version 3 the provider's reference is called `reference`.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Approved {
        order_id: OrderId,
        amount: Amount,
        reference: String,
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Amount {
        value: events::Money,
        currency: String,
    }

    impl Event for Approved {
        const NAME: &'static str = "payment.approved";
        const VERSION: u16 = 3;
        const OLDEST: u16 = 1;

        fn order_id(&self) -> OrderId {
            self.order_id
        }

        fn upcast(from: u16, mut body: Value) -> Value {
            match from {
                1 => body["amount"] = json!({ "value": body["amount"], "currency": "EUR" }),
                _ => body["reference"] = body["provider_ref"].take(),
            }
            body
        }
    }

    /// The body of the first release's fixture, and the same in version 3.
    fn fixture() -> (Value, Value) {
        let fixture = include_str!("../../events/fixtures/payment.approved.1.json");
        let fixture: Value = serde_json::from_str(fixture).unwrap();
        let (first, mut third) = (fixture["body"].clone(), fixture["body"].clone());
        third["amount"] = json!({ "value": first["amount"], "currency": "EUR" });
        third["reference"] = third["provider_ref"].take();
        (first, third)
    }

    fn of_version(version: i64, body: &Value) -> Result<Approved, String> {
        let message = Message {
            id: Some("019b8e07-467b-7000-8000-000000000003".into()),
            kind: Some(Approved::NAME.into()),
            body: body.to_string().into_bytes(),
            ..Message::default()
        };
        Ok(read::<Approved>(&message.with(header::VERSION, version), None)?.event)
    }

    #[test]
    fn versions_side_by_side_are_read_as_one() {
        let (first, third) = fixture();
        let mut second = third.clone();
        second["provider_ref"] = second["reference"].take();
        let expected = of_version(3, &third).unwrap();
        assert_eq!(of_version(1, &first).unwrap(), expected);
        assert_eq!(of_version(2, &second).unwrap(), expected);
        assert_eq!(expected.amount.value.to_string(), "99.80");
        assert_eq!(expected.reference, "SIM-81ab0ac6b71f");
        for unknown in [0, 4, -1, 70_000] {
            let why = of_version(unknown, &third).unwrap_err();
            let known = format!("unknown schema-version {unknown}; this consumer knows 1 to 3");
            assert_eq!(why, known);
        }
        assert!(of_version(3, &first).unwrap_err().contains("is not a valid payment.approved"));
    }

    #[test]
    fn a_nul_is_found_where_it_is_one() {
        for json in [r#"{"a":"\u0000"}"#, r#""\\\u0000""#, r#"["\n\u0000"]"#] {
            assert!(holds_nul(json.as_bytes()), "{json}");
        }
        for json in [r#""\\u0000""#, r#""\u0001""#, r#""u0000""#, r#""\"#, ""] {
            assert!(!holds_nul(json.as_bytes()), "{json}");
        }
    }
}
