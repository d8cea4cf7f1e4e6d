//! Defines a decision: a service's result for an event, as a value.

use events::{Event, OrderId};

/// A service's decision on an event.
#[derive(Clone, Debug, PartialEq)]
#[must_use = "a decision does nothing until the loop saves it"]
pub enum Decision<S> {
    /// No change: a repetition, or an event without meaning here.
    Nothing,
    /// The order's new state here, and the events to publish; saved together or not at all.
    Change { state: S, says: Vec<Said> },
    /// No legal history leads here: the message goes to the dead letters, with this reason.
    Impossible(String),
}

impl<S> Decision<S> {
    pub const fn nothing() -> Self {
        Self::Nothing
    }

    pub const fn to(state: S) -> Self {
        Self::Change { state, says: Vec::new() }
    }

    pub fn impossible(reason: impl Into<String>) -> Self {
        Self::Impossible(reason.into())
    }

    /// Publishes this once the new state is saved.
    pub fn and_say<E: Event>(mut self, event: &E) -> Self {
        match &mut self {
            Self::Change { says, .. } => says.push(Said::new(event)),
            Self::Nothing | Self::Impossible(_) => {
                panic!("{} is said without a change that remembers it", E::NAME)
            }
        }
        self
    }
}

/// An event that a service has decided to publish: named, and already in the bytes of every later
/// publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    pub event: &'static str,
    pub version: u16,
    pub order_id: OrderId,
    pub body: String,
}

impl Said {
    pub fn new<E: Event>(event: &E) -> Self {
        Self {
            event: E::NAME,
            version: E::VERSION,
            order_id: event.order_id(),
            body: event.to_json(),
        }
    }

    /// The event again, if it is of this type.
    pub fn read<E: Event>(&self) -> Option<E> {
        (self.event == E::NAME).then(|| E::from_json(self.body.as_bytes()).ok()).flatten()
    }
}
