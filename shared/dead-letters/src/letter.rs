//! Parses a dead letter. Any client may have published anything, so nothing in it is trusted.

use chrono::{DateTime, Utc};
use events::{EventId, OrderId, said_at};
use messaging::{Message, header};
use serde_json::Value;
use uuid::Uuid;

const DEAD: &str = ".dlq";

#[derive(Clone, Debug, PartialEq)]
pub struct Letter {
    /// The queue in which it lies.
    pub parked: String,
    pub message: Message,
}

impl Letter {
    /// The queue that it died in: by its place, or else by the header that named it when it was
    /// sent on, if that queue is for such events.
    pub fn origin(&self) -> Option<String> {
        let event = self.message.kind.as_deref().unwrap_or_default().replace('.', "-");
        let hears_it =
            |queue: &String| queue.split_once('.').is_some_and(|(_, heard)| heard == event);
        let named = || {
            let by_us = self.message.text(header::QUEUE);
            by_us.or_else(|| self.message.text("x-first-death-queue")).filter(hears_it)
        };
        self.parked.strip_suffix(DEAD).map(Into::into).or_else(named)
    }

    /// Only a UUID of version 7 is an event's id: it contains the event's time.
    pub fn event_id(&self) -> Option<EventId> {
        let id: Uuid = self.message.id.as_ref()?.parse().ok()?;
        (id.get_version_num() == 7).then_some(id)
    }

    /// Whether it died in a queue of this service.
    pub fn is_for(&self, service: &str) -> bool {
        self.origin().is_some_and(|queue| queue.split('.').next() == Some(service))
    }

    pub fn order_id(&self) -> Option<OrderId> {
        order_of(&self.message)
    }

    pub fn said_at(&self) -> Option<DateTime<Utc>> {
        said_at(self.event_id()?)
    }

    /// When it died, if a service has recorded that.
    pub fn died_at(&self) -> Option<DateTime<Utc>> {
        self.message.text(header::FAILED_AT)?.parse().ok()
    }

    pub fn reason(&self) -> String {
        let by_broker = || {
            let why = self.message.text("x-first-death-reason")?;
            Some(format!("RabbitMQ gave it up: {why}"))
        };
        let unreadable = || Some(format!("it cannot be read: {}", self.message.unreadable()?));
        let reason = self.message.text(header::REASON).or_else(unreadable).or_else(by_broker);
        let reason = reason.unwrap_or_else(|| "no reason given".into());
        match self.refused_by() {
            Some(queue) => format!("{queue} refuses it as a dead letter: {reason}"),
            None => reason,
        }
    }

    /// The dead-letter queue for which it waits in a retry queue.
    pub fn refused_by(&self) -> Option<String> {
        self.message.text(header::DEAD)
    }

    pub fn attempts(&self) -> i64 {
        self.message.number(header::ATTEMPT).unwrap_or(0)
    }

    /// The message for a replay: the same event, without the headers of its last attempts, and with
    /// a replay header.
    pub fn for_replay(&self, now: DateTime<Utc>) -> Message {
        const PAST: [&str; 6] = [
            header::ATTEMPT,
            header::REASON,
            header::DELAY,
            header::QUEUE,
            header::FAILED_AT,
            header::DEAD,
        ];
        let times = self.message.number(header::REPLAYED).unwrap_or(0).max(0);
        let mut message = self.message.clone();
        // Headers that begin with x- are the broker's own.
        message.headers.retain(|name, _| !PAST.contains(&name.as_str()) && !name.starts_with("x-"));
        message
            .with(header::REPLAYED, times.saturating_add(1))
            .with(header::REPLAYED_AT, now.to_rfc3339())
    }

    /// As a new event, since its bytes differ; caused by the old one, if that had an id.
    pub fn mended(&self, body: Vec<u8>, new_id: EventId) -> Message {
        let mut message = self.message.clone();
        message.headers.remove(header::UNREADABLE);
        message.headers.remove(header::UNREADABLE_BYTES);
        if let Some(old) = self.event_id() {
            message = message.with(header::CAUSE, old.to_string());
        }
        message.id = Some(new_id.to_string());
        message.timestamp = new_id.get_timestamp().map(|at| at.to_unix().0);
        message.body = body;
        message
    }
}

/// From its properties, or else from its body.
pub fn order_of(message: &Message) -> Option<OrderId> {
    let in_body = || {
        let body: Value = serde_json::from_slice(&message.body).ok()?;
        body["order_id"].as_str()?.parse().ok()
    };
    let correlated = message.correlation_id.as_ref().and_then(|id| id.parse().ok());
    correlated.or_else(in_body)
}

#[cfg(any(test, feature = "testing"))]
pub mod testing {
    use super::*;

    pub const QUEUE: &str = "inventory.payment-approved";

    /// A dead letter as a service leaves it, of an event of this time.
    pub fn letter(said_at: DateTime<Utc>) -> Letter {
        let millis = said_at.timestamp_millis().unsigned_abs();
        let id = uuid::Builder::from_unix_timestamp_millis(millis, &[7; 10]).into_uuid();
        let body = format!(r#"{{"order_id":"{}"}}"#, Uuid::from_u128(5)).into_bytes();
        let message = Message {
            id: Some(id.to_string()),
            kind: Some("payment.approved".into()),
            body,
            ..Message::default()
        };
        let message = message
            .with(header::REASON, "it broke")
            .with(header::ATTEMPT, 4)
            .with(header::QUEUE, QUEUE)
            .with(header::FAILED_AT, "2026-01-02T03:04:05+00:00")
            .with(header::TRACE, "00-1-2-01")
            .with("x-delivery-count", 3);
        Letter { parked: messaging::dead_letters(QUEUE), message }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{QUEUE, letter};
    use super::*;

    fn moment() -> DateTime<Utc> {
        DateTime::from_timestamp(1_767_000_000, 0).unwrap()
    }

    #[test]
    fn it_goes_back_as_the_same_event_with_a_fresh_start() {
        let letter = letter(moment());
        let again = letter.for_replay(moment());
        let (message, old) = (&again, &letter.message);
        assert_eq!((&message.id, &message.body), (&old.id, &old.body));
        let names: Vec<_> = message.headers.keys().map(String::as_str).collect();
        assert_eq!(names, ["replayed", "replayed-at", "traceparent"]);
        assert_eq!(message.number(header::REPLAYED), Some(1));
        let third = Letter { message: again.clone(), ..letter }.for_replay(moment());
        assert_eq!(third.number(header::REPLAYED), Some(2));
    }

    #[test]
    fn one_that_waits_for_its_queue_says_so_and_is_replayed_without_that() {
        let mut letter = letter(moment());
        let dead = letter.parked.clone();
        letter.message = letter.message.with(header::DEAD, dead.as_str());
        assert_eq!(letter.reason(), format!("{dead} refuses it as a dead letter: it broke"));
        assert_eq!(letter.for_replay(moment()).text(header::DEAD), None);
    }

    #[test]
    fn mended_it_is_another_event_that_the_old_one_causes() {
        let (letter, new) = (letter(moment()), Uuid::from_u128(9));
        let message = letter.mended(b"{}".to_vec(), new);
        assert_eq!(message.id, Some(new.to_string()));
        assert_eq!(message.text(header::CAUSE), letter.message.id);
        assert_eq!(message.body, b"{}");
    }

    #[test]
    fn its_queue_is_told_by_its_place_or_else_by_who_sent_it_on() {
        let mut lost = letter(moment());
        assert_eq!(lost.origin().as_deref(), Some(QUEUE));
        lost.parked = "unrouted".into();
        assert_eq!(lost.origin().as_deref(), Some(QUEUE));
        for elsewhere in ["order.payment-failed", "inventory.retry.30s"] {
            lost.message = lost.message.with(header::QUEUE, elsewhere);
            assert_eq!(lost.origin(), None);
        }
    }

    #[test]
    fn only_version_seven_is_an_id() {
        let mut odd = letter(moment());
        assert_eq!(odd.said_at(), Some(moment()));
        odd.message.id = Some(Uuid::from_u128(1).to_string());
        assert_eq!(odd.event_id(), None);
    }
}
