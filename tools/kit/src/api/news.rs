//! Streams the events of all orders as they happen, each once, and reconnects where needed.

use std::collections::{HashSet, VecDeque};

use chrono::{DateTime, Utc};
use events::{EventId, OrderId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Api, ApiError, stream::Stream};

/// A new connection repeats the events of the last half minute.
const KNOWN_MAX: usize = 50_000;

/// An event of an order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Said {
    pub order_id: OrderId,
    pub event: String,
    pub event_id: EventId,
    pub service: String,
    pub at: DateTime<Utc>,
    pub caused_by: Option<EventId>,
    /// The event that has this id.
    pub after: Option<String>,
    /// Order does not consume it, but has consumed its answer.
    pub inferred: bool,
    pub detail: Value,
}

#[derive(Clone, Debug)]
pub enum Heard {
    Said(Box<Said>),
    /// Events came too fast, and some were left out.
    TooFast,
}

pub struct News {
    stream: Stream,
    known: HashSet<EventId>,
    by_age: VecDeque<EventId>,
}

impl News {
    pub(super) async fn open(api: Api) -> Result<Self, ApiError> {
        let stream = Stream::open(api, "/orders/events".into()).await?;
        Ok(Self { stream, known: HashSet::new(), by_age: VecDeque::new() })
    }

    pub async fn next(&mut self) -> Result<Heard, ApiError> {
        loop {
            let (kind, data) = self.stream.next().await?;
            match kind.as_str() {
                "said" => {
                    let said: Said = self.stream.read(&data)?;
                    if self.is_new(said.event_id) {
                        return Ok(Heard::Said(Box::new(said)));
                    }
                }
                "missed" => return Ok(Heard::TooFast),
                _ => {}
            }
        }
    }

    fn is_new(&mut self, id: EventId) -> bool {
        if !self.known.insert(id) {
            return false;
        }
        self.by_age.push_back(id);
        if self.by_age.len() > KNOWN_MAX {
            self.by_age.pop_front().map(|oldest| self.known.remove(&oldest));
        }
        true
    }
}
