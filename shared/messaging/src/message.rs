//! Defines a message as it is on the wire, for every broker.

use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, fmt};
use telemetry::TraceParent;

/// The names of the headers.
pub mod header {
    pub const VERSION: &str = "schema-version";
    pub const CAUSE: &str = "causation-id";
    pub const TRACE: &str = "traceparent";
    /// Failed attempts so far.
    pub const ATTEMPT: &str = "attempt";
    /// Why the last attempt failed, or why the message is dead.
    pub const REASON: &str = "reason";
    /// The retry tier it waits on.
    pub const DELAY: &str = "delay";
    /// The original queue, to which it returns.
    pub const QUEUE: &str = "queue";
    pub const FAILED_AT: &str = "failed-at";
    /// The dead-letter queue that refused it: it waits on a retry tier, and is not handled again.
    pub const DEAD: &str = "dead-letter";
    /// How often an operator has replayed it, from the dead letters or the history, and when last.
    pub const REPLAYED: &str = "replayed";
    pub const REPLAYED_AT: &str = "replayed-at";
    /// Why the properties could not be read, and how they begin: the only headers of such a
    /// message. On this side only; the broker has the original.
    pub const UNREADABLE: &str = "unreadable";
    pub const UNREADABLE_BYTES: &str = "unreadable-bytes";
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Header {
    Text(String),
    Number(i64),
}

impl Header {
    fn size(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Number(_) => size_of::<i64>(),
        }
    }
}

impl fmt::Display for Header {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => out.write_str(text),
            Self::Number(number) => write!(out, "{number}"),
        }
    }
}

impl From<i64> for Header {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<String> for Header {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Header {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

/// Everything is optional, since any client may publish anything: the decoder refuses a message
/// with missing parts, and the dead letter still carries the parts that it had.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    pub id: Option<String>,
    pub kind: Option<String>,
    pub correlation_id: Option<String>,
    pub app_id: Option<String>,
    /// Seconds since 1970, as AMQP has it; the exact time is in the id.
    pub timestamp: Option<u64>,
    pub content_type: Option<String>,
    pub headers: BTreeMap<String, Header>,
    pub body: Vec<u8>,
}

/// A larger body is not read. Our own are far smaller, since requests are.
pub const BODY_MAX: usize = 256 * 1024;
/// Headers are published again when a message fails. As text they may be longer than they were.
const HEADERS_MAX: usize = 24 * 1024;
/// What a frame has room for beside them: the headers of a dead letter, and the other properties.
const BESIDE_HEADERS: usize = 3 * 1024;
/// What a header takes beside its name and its value: its kind and two lengths.
const ENTRY: usize = 6;

impl Message {
    /// Why it can be neither handled nor forwarded: the broker keeps it unchanged.
    pub fn unreadable(&self) -> Option<String> {
        self.unreadable_in(usize::MAX)
    }

    /// The same in frames of this size.
    pub(crate) fn unreadable_in(&self, frame_max: usize) -> Option<String> {
        let size = self.body.len();
        let large = (size > BODY_MAX).then(|| too_large(size as u64));
        let sizes = self.headers.iter().map(|(name, value)| name.len() + value.size() + ENTRY);
        let headers: usize = sizes.sum();
        let max = HEADERS_MAX.min(frame_max.saturating_sub(BESIDE_HEADERS));
        let wide = (headers > max).then(|| {
            let (kib, max) = (headers / 1024, max / 1024);
            format!("its headers take {kib} KiB as text; {max} KiB are read")
        });
        self.text(header::UNREADABLE).or(large).or(wide)
    }

    /// Of the bytes, which never change for an id.
    pub fn digest(&self) -> Vec<u8> {
        Sha256::digest(&self.body)[..16].to_vec()
    }

    pub fn text(&self, header: &str) -> Option<String> {
        self.headers.get(header).map(ToString::to_string)
    }

    /// Its `traceparent`, if it is valid.
    pub fn trace(&self) -> Option<&str> {
        match self.headers.get(header::TRACE)? {
            Header::Text(text) => Some(text.as_str()).filter(|text| is_trace(text)),
            Header::Number(_) => None,
        }
    }

    pub fn number(&self, header: &str) -> Option<i64> {
        match self.headers.get(header)? {
            Header::Number(number) => Some(*number),
            Header::Text(text) => text.parse().ok(),
        }
    }

    #[must_use]
    pub fn with(mut self, header: &str, value: impl Into<Header>) -> Self {
        self.headers.insert(header.into(), value.into());
        self
    }
}

pub fn too_large(body: u64) -> String {
    format!("its body takes {} KiB; {} KiB are read", body / 1024, BODY_MAX / 1024)
}

pub fn is_trace(text: &str) -> bool {
    text.parse::<TraceParent>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_that_grow_too_long_as_text_are_not_read() {
        let with = |bytes: usize| Message::default().with("x", "\u{fffd}".repeat(bytes).as_str());
        assert_eq!(with(8_000).unreadable(), None);
        let why = with(12_000).unreadable().unwrap();
        assert_eq!(why, "its headers take 35 KiB as text; 24 KiB are read");
        let many = (0..3_275).map(|number| (number.to_string(), Header::Text("false".into())));
        let many = Message { headers: many.collect(), ..Message::default() };
        assert_eq!(many.unreadable().unwrap(), "its headers take 46 KiB as text; 24 KiB are read");
        let why = with(2_500).unreadable_in(8 * 1024).unwrap();
        assert_eq!(why, "its headers take 7 KiB as text; 5 KiB are read");
    }
}
