#![doc = include_str!("../README.md")]

mod decision;
pub mod scenario;

use chrono::{DateTime, Utc};
use events::{Event, EventId, ProductId};
use std::ops::Deref;

pub use decision::{Decision, Said};

/// Reacts to `E`. `Self` is the service's whole state of the order of `E`.
pub trait On<E: Event>: Sized {
    fn on(self, event: &Heard<E>) -> Decision<Self>;

    /// Rows besides the order's own that the decision must see, such as its products.
    fn touches(_event: &E) -> Vec<ProductId> {
        Vec::new()
    }
}

/// An event as it reaches a reaction: its content and its origin.
#[derive(Clone, Debug, PartialEq)]
pub struct Heard<E> {
    pub event: E,
    pub id: EventId,
    /// The time of the event.
    pub at: DateTime<Utc>,
    pub caused_by: Option<EventId>,
    /// The W3C `traceparent` that all resulting work continues.
    pub trace: Option<String>,
}

impl<E> Deref for Heard<E> {
    type Target = E;

    fn deref(&self) -> &E {
        &self.event
    }
}

/// The cause of a service's own work, stored with the work, so that the resulting event names its
/// cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    pub event_id: EventId,
    pub trace: Option<String>,
}

impl<E> Heard<E> {
    pub fn as_cause(&self) -> Cause {
        Cause { event_id: self.id, trace: self.trace.clone() }
    }
}
