//! Commits a unit of work: messages, requests or a provider's answers. Here alone is the order of
//! steps: begin, inbox or locks, load, decide, save, outbox, commit, hand on.

mod bisection;

use crate::{CrashPoint, Failure, Known, Ledger, Outbox, Outgoing, Store, World, crash_at};
use events::{OrderId, ProductId};
use saga::{Cause, Said};
use std::future::Future;

pub use bisection::Bisection;

/// What one transaction decides on.
pub trait Work<S: Store, L: Ledger<Tx = S::Tx>>: Send {
    /// Why nothing of it has happened.
    type Stop: From<Failure>;

    /// The crash point after its commit.
    const COMMITTED: CrashPoint;

    /// Locks the orders, messages by the inbox, and names the rows to load. `None` if nothing is
    /// left to decide on.
    fn lock(
        &mut self,
        ledger: &L,
        tx: &mut S::Tx,
    ) -> impl Future<Output = Result<Option<Wanted>, Self::Stop>> + Send;

    /// Decides on one order after the other.
    fn decide(&mut self, states: &mut States<'_, S>) -> Result<(), Self::Stop>;
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

/// The loaded states, what the decisions have made of them, and what is to be said about it.
pub struct States<'a, S: Store> {
    store: &'a S,
    world: &'a dyn World,
    batch: S::Batch,
    said: Vec<Outgoing>,
}

impl<S: Store> States<'_, S> {
    /// As the decisions before have left it.
    pub fn of(&self, order: OrderId, touched: &[ProductId]) -> S::State {
        self.batch.of(order, touched)
    }

    pub fn keep(&mut self, order: OrderId, state: S::State) {
        self.batch.keep(order, state);
        self.store.decided(&mut self.batch, order);
    }

    /// Keeps what a decision changes, and gives each event its id.
    pub fn change(&mut self, order: OrderId, state: S::State, says: Vec<Said>, cause: &Cause) {
        self.keep(order, state);
        let outgoing = |said| Outgoing::new(self.world, said, Some(cause));
        self.said.extend(says.into_iter().map(outgoing));
    }

    pub fn say(&mut self, outgoing: Outgoing) {
        self.said.push(outgoing);
    }

    pub const fn world(&self) -> &dyn World {
        self.world
    }
}

/// Where work is committed.
pub struct Committer<'a, S, L> {
    pub store: &'a S,
    pub ledger: &'a L,
    pub outbox: &'a Outbox,
    pub world: &'a dyn World,
}

impl<S: Store, L: Ledger<Tx = S::Tx>> Committer<'_, S, L> {
    /// All of it, in one transaction, or nothing.
    pub async fn commit<W: Work<S, L>>(&self, work: &mut W) -> Result<(), W::Stop> {
        let Self { store, ledger, outbox, world } = *self;
        let mut tx = ledger.begin().await?;
        let Some(Wanted { orders, touched }) = work.lock(ledger, &mut tx).await? else {
            return Ok(ledger.commit(tx).await?);
        };
        let batch = store.load(&mut tx, &orders, &touched).await?;
        let mut states = States { store, world, batch, said: Vec::new() };
        work.decide(&mut states)?;
        let States { batch, said, .. } = states;
        store.save(&mut tx, &batch).await?;
        if !said.is_empty() {
            ledger.enqueue(&mut tx, &said).await?;
        }
        ledger.commit(tx).await?;
        crash_at(W::COMMITTED);
        outbox.wake(said);
        store.committed(batch);
        Ok(())
    }
}
