//! Commits a unit of work: messages, requests or a provider's answers. The only place with the
//! order of steps: begin, inbox or locks, load, decide, save, outbox, commit, hand on.

mod bisection;

use crate::{
    CrashPoint, Env, Failure, LoadedBatch, MessageStore, Outbox, Outgoing, Reply, Store, crash_at,
};
use events::{OrderId, ProductId};
use reaction::{Cause, Said};
use std::future::Future;
use tokio::task::yield_now;

pub use bisection::{Bisection, Refusals};

/// What one transaction decides on.
pub trait Work<S: Store, L: MessageStore<Tx = S::Tx>>: Send {
    /// Why the transaction was rolled back.
    type Stop: From<Failure>;

    /// What is known once the orders are locked.
    type Locked: Send;

    /// The crash point after its commit.
    const COMMITTED: CrashPoint;

    fn wanted(&self) -> Wanted;

    /// Locks the orders, for messages by the inbox. It is sent to the database together with what
    /// loads the rows, and so is the answer.
    fn lock<'a>(
        &self,
        message_store: &'a L,
        tx: &mut S::Tx,
    ) -> impl Future<Output = Result<Reply<'a, Self::Locked>, Self::Stop>> + Send;

    /// Decides on one order after another.
    fn decide(
        &mut self,
        locked: Self::Locked,
        states: &mut States<'_, S>,
    ) -> Result<(), Self::Stop>;
}

/// The rows that the decisions see.
pub struct Wanted {
    pub orders: Vec<OrderId>,
    pub touched: Vec<ProductId>,
}

impl Wanted {
    pub fn orders(orders: impl IntoIterator<Item = OrderId>) -> Self {
        Self { orders: orders.into_iter().collect(), touched: Vec::new() }
    }
}

/// The loaded states, with the decisions' changes and events.
pub struct States<'a, S: Store> {
    store: &'a S,
    env: &'a dyn Env,
    batch: S::Batch,
    said: Vec<Outgoing>,
}

impl<S: Store> States<'_, S> {
    /// As the earlier decisions have left it.
    pub fn get(&self, order: OrderId, touched: &[ProductId]) -> S::State {
        self.batch.get(order, touched)
    }

    pub fn put(&mut self, order: OrderId, state: S::State) {
        self.batch.put(order, state);
        self.store.decided(&mut self.batch, order);
    }

    /// Keeps a decision's changes, and assigns each event its id.
    pub fn change(&mut self, order: OrderId, state: S::State, says: Vec<Said>, cause: &Cause) {
        self.put(order, state);
        let outgoing = |said| Outgoing::new(self.env, said, Some(cause));
        self.said.extend(says.into_iter().map(outgoing));
    }

    /// Adds a root event to the outbox.
    pub fn enqueue(&mut self, outgoing: Outgoing) {
        self.said.push(outgoing);
    }

    pub const fn env(&self) -> &dyn Env {
        self.env
    }
}

/// Commits units of work.
pub struct Committer<'a, S, L> {
    pub store: &'a S,
    pub message_store: &'a L,
    pub outbox: &'a Outbox,
    pub env: &'a dyn Env,
}

impl<S: Store, L: MessageStore<Tx = S::Tx>> Committer<'_, S, L> {
    /// Commits all of it in one transaction, or nothing.
    pub async fn commit<W: Work<S, L>>(&self, work: &mut W) -> Result<(), W::Stop> {
        let Self { store, message_store, outbox, env } = *self;
        let mut tx = message_store.begin().await?;
        let Wanted { orders, touched } = work.wanted();
        let locked = work.lock(message_store, &mut tx).await?;
        let loaded = store.load(&mut tx, &orders, &touched);
        let (locked, batch) = (locked.await?, loaded.await?);
        let mut states = States { store, env, batch, said: Vec::new() };
        work.decide(locked, &mut states)?;
        let States { batch, said, .. } = states;
        store.save(&mut tx, &batch).await?;
        if !said.is_empty() {
            message_store.enqueue(&mut tx, &said).await?;
        }
        message_store.commit(tx).await?;
        crash_at(W::COMMITTED);
        outbox.wake(said);
        store.committed(batch);
        // The relay publishes the events before this task goes on.
        yield_now().await;
        Ok(())
    }
}
