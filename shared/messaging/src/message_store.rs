//! Defines a service's transactions, and its access to the tables that every service has.

use crate::{Env, Failure};
use async_trait::async_trait;
use events::{EventId, OrderId};
use futures::future::{BoxFuture, FutureExt, ready};
use reaction::{Cause, Said};
use std::collections::HashMap;
use uuid::Uuid;

/// An event is parked after its publication has ended the session so often.
pub const FAILURES_MAX: i32 = 5;

/// The answer of a database. What is asked of a transaction before its first answer is awaited
/// takes one round trip.
pub type Reply<'a, T> = BoxFuture<'a, Result<T, Failure>>;

/// An answer that is known already.
pub fn reply<T: Send + 'static>(answer: Result<T, Failure>) -> Reply<'static, T> {
    ready(answer).boxed()
}

#[async_trait]
pub trait MessageStore: Clone + Send + Sync + 'static {
    /// A transaction. Dropped without `commit`, it is rolled back.
    type Tx: Send;

    async fn begin(&self) -> Result<Self::Tx, Failure>;
    async fn commit(&self, tx: Self::Tx) -> Result<(), Failure>;

    /// Inserts these into the inbox, and locks their orders until the transaction ends; returns for
    /// each whether it is new.
    fn insert_inbox<'a>(&'a self, tx: &mut Self::Tx, handled: &[Handled]) -> Reply<'a, Vec<Seen>>;

    /// The repaired ones of these dead letters, by queue and key, with the id of the event that
    /// replaced each.
    async fn repaired(
        &self,
        _tx: &mut Self::Tx,
        _letters: &[(&str, &Handled)],
    ) -> Result<HashMap<EventId, EventId>, Failure> {
        Ok(HashMap::new())
    }

    /// Locks these orders until the transaction ends.
    async fn lock_orders(&self, tx: &mut Self::Tx, orders: &[OrderId]) -> Result<(), Failure>;

    /// Writes to the outbox.
    async fn enqueue(&self, tx: &mut Self::Tx, said: &[Outgoing]) -> Result<(), Failure>;

    /// Claims outbox rows that no process seems to be publishing, for a limited time.
    async fn claim_unsent(&self, max: usize) -> Result<Unsent, Failure>;

    /// The session ended while these were published: one of them may be the cause. From now on each
    /// is published alone, and is parked for a while after too many failures; returns the newly
    /// parked ones.
    async fn suspect(&self, unsent: &[EventId], reason: &str) -> Result<Vec<EventId>, Failure>;

    /// The session ended before these were confirmed, and it is not their fault: the next one
    /// publishes them at once.
    async fn release(&self, unsent: &[EventId]) -> Result<(), Failure>;

    /// Deletes these confirmed events from the outbox; they may be kept elsewhere as history.
    async fn forget_sent(&self, sent: &[EventId]) -> Result<(), Failure>;

    /// Records in a committed row that this message, by its fingerprint, is about to be handled
    /// alone; returns the number of starts since one ended, this one included. The same attempt is
    /// counted once: the answer to its commit may be lost.
    async fn quarantine_start(&self, suspect: &[u8], attempt: Uuid) -> Result<u32, Failure>;

    /// The process has survived handling it.
    async fn quarantine_end(&self, suspect: &[u8]) -> Result<(), Failure>;

    /// Whether anything can be written: the end of an attempt that never began.
    async fn probe(&self) -> Result<(), Failure> {
        self.quarantine_end(&[]).await
    }

    /// The broker refused these: they are retried, with growing delays.
    async fn postpone(&self, unsent: &[EventId], reason: &str) -> Result<(), Failure>;
}

/// An event's row in the inbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handled {
    pub event_id: EventId,
    pub event: &'static str,
    pub order_id: OrderId,
    /// Of the bytes, which never change for an id.
    pub digest: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    New,
    Before,
    /// Another content under the same id was handled before.
    Forged,
}

/// The result of a sweep.
#[derive(Debug, Default)]
pub struct Unsent {
    pub together: Vec<Outgoing>,
    /// To be published alone: see `MessageStore::suspect`.
    pub alone: Option<Outgoing>,
}

/// An event's row in the outbox.
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
    /// Its approximate size in memory.
    pub fn bytes(&self) -> usize {
        size_of::<Self>()
            + self.event.len()
            + self.body.len()
            + self.trace.as_ref().map_or(0, String::len)
    }

    /// Assigns an event its final id.
    pub fn new(env: &dyn Env, said: Said, cause: Option<&Cause>) -> Self {
        Self {
            id: env.new_id(),
            event: said.event.into(),
            version: said.version,
            order_id: said.order_id,
            body: said.body,
            caused_by: cause.map(|cause| cause.event_id),
            trace: cause.and_then(|cause| cause.trace.clone()),
        }
    }

    /// A root event, at a customer's request: starts a trace, or continues the customer's.
    pub fn root(env: &dyn Env, said: Said, trace: Option<String>) -> Self {
        Self { trace: trace.or_else(|| Some(env.new_trace())), ..Self::new(env, said, None) }
    }
}
