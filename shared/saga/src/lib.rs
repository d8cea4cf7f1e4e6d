//! How a reaction looks: a pure function from what a service knows of an order, and what it has
//! just heard, to a decision. No clock, no randomness, no I/O, no `Result`: a refusal is an event.

mod decision;
pub mod scenario;

use chrono::{DateTime, Utc};
use events::{Event, EventId, ProductId};
use std::ops::Deref;

pub use decision::{Decision, Said};

/// Reacts to `E`. `Self` is all that the service knows of the order that `E` is about.
pub trait On<E: Event>: Sized {
    fn on(self, event: &Heard<E>) -> Decision<Self>;

    /// Rows beside the order's own that the decision must see, such as the products it asks for.
    fn touches(_event: &E) -> Vec<ProductId> {
        Vec::new()
    }
}

/// An event as it reaches a reaction: its content, and where it came from.
#[derive(Clone, Debug, PartialEq)]
pub struct Heard<E> {
    pub event: E,
    pub id: EventId,
    /// When it was said.
    pub at: DateTime<Utc>,
    pub caused_by: Option<EventId>,
    /// The W3C `traceparent` that everything goes on with which comes of it.
    pub trace: Option<String>,
}

impl<E> Deref for Heard<E> {
    type Target = E;

    fn deref(&self) -> &E {
        &self.event
    }
}

/// What some work of a service's own was started by, kept with the work, so that what it says in
/// the end still names its cause.
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
