//! Where a service's transactions happen, and the tables that every service has.

use crate::{Failure, World};
use events::{EventId, OrderId};
use saga::{Cause, Said};
use std::{collections::HashMap, future::Future};

/// An event is parked after the session has ended so often while it was published.
pub const FAILURES_MAX: i32 = 5;

pub trait Ledger: Clone + Send + Sync + 'static {
    /// A transaction. Dropped without `commit`, it never happened.
    type Tx: Send;

    fn begin(&self) -> impl Future<Output = Result<Self::Tx, Failure>> + Send;
    fn commit(&self, tx: Self::Tx) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Notes these as handled, and keeps their orders to itself until the transaction ends; tells
    /// for each whether that is news.
    fn note(
        &self,
        tx: &mut Self::Tx,
        handled: &[Handled],
    ) -> impl Future<Output = Result<Vec<Novelty>, Failure>> + Send;

    /// Of these dead letters, by queue and key: those that were repaired, and as which event each
    /// went on.
    fn repaired(
        &self,
        _tx: &mut Self::Tx,
        _letters: &[(&str, &Handled)],
    ) -> impl Future<Output = Result<HashMap<EventId, EventId>, Failure>> + Send {
        async { Ok(HashMap::new()) }
    }

    /// Nobody else works on these orders until the transaction ends.
    fn lock_orders(
        &self,
        tx: &mut Self::Tx,
        orders: &[OrderId],
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Writes to the outbox.
    fn enqueue(
        &self,
        tx: &mut Self::Tx,
        said: &[Outgoing],
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Takes rows that no process seems to be publishing, and holds them for a while.
    fn claim_unsent(&self, max: usize) -> impl Future<Output = Result<Unsent, Failure>> + Send;

    /// The session ended while these were published: one of them may be the reason. Each goes alone
    /// from now on, and is parked for a while after too many failures; returns what is parked now.
    fn suspect(
        &self,
        unsent: &[EventId],
        reason: &str,
    ) -> impl Future<Output = Result<Vec<EventId>, Failure>> + Send;

    /// The broker has these: deletes them.
    fn forget_sent(&self, sent: &[EventId]) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Notes for good that this message, by its fingerprint, is about to be handled alone; tells
    /// how many starts there were since one came to an end, this one included.
    fn start_alone(&self, suspect: &[u8]) -> impl Future<Output = Result<u32, Failure>> + Send;

    /// The process has survived it.
    fn end_alone(&self, suspect: &[u8]) -> impl Future<Output = Result<(), Failure>> + Send;

    /// The broker would not take these: they are tried again, less and less often.
    fn postpone(
        &self,
        unsent: &[EventId],
        reason: &str,
    ) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// An event's line in the idempotency table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handled {
    pub event_id: EventId,
    pub event: &'static str,
    pub order_id: OrderId,
    /// Of the bytes, which never change for an id.
    pub digest: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Novelty {
    New,
    HandledBefore,
    /// Another content under the same id was handled before.
    Forged,
}

/// What a sweep finds.
#[derive(Debug, Default)]
pub struct Unsent {
    pub together: Vec<Outgoing>,
    /// Is to be published by itself: see `Ledger::suspect`.
    pub alone: Option<Outgoing>,
}

/// An event's line in the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    pub id: EventId,
    pub event: String,
    pub version: u16,
    pub order_id: OrderId,
    pub body: String,
    pub caused_by: Option<EventId>,
    pub trace: Option<String>,
}

impl Outgoing {
    /// What it takes in memory, nearly.
    pub fn bytes(&self) -> usize {
        size_of::<Self>()
            + self.event.len()
            + self.body.len()
            + self.trace.as_ref().map_or(0, String::len)
    }

    /// Gives what is said its id, once and for all.
    pub fn new(world: &dyn World, said: Said, cause: Option<&Cause>) -> Self {
        Self {
            id: world.new_id(),
            event: said.event.into(),
            version: said.version,
            order_id: said.order_id,
            body: said.body,
            caused_by: cause.map(|cause| cause.event_id),
            trace: cause.and_then(|cause| cause.trace.clone()),
        }
    }

    /// Said by nobody's asking but a customer's: starts a trace, or goes on with the customer's.
    pub fn opening(world: &dyn World, said: Said, trace: Option<String>) -> Self {
        Self { trace: trace.or_else(|| Some(world.new_trace())), ..Self::new(world, said, None) }
    }
}
