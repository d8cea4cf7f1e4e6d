//! A service's database: tables in memory, which outlive its process, and nothing else.

use async_trait::async_trait;
use database::Failure;
use events::{EventId, OrderId};
use memory_stores::{
    order::Orders,
    payment::{self as charges, Payments},
};
use messaging::{
    Batch, Env, Handled, MemoryMessageStore, MemoryTx, MessageStore, Outgoing, Reply, Seen,
    SystemEnv, Unsent, reply,
};
use order::{Answer, Cancellable, LockWait, OrderRepository, Placed, Unwritten};
use payment::{Charge, ChargeRepository, Payment};
use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};
use tokio::time::Instant;
use uuid::Uuid;

#[derive(Clone, Default)]
pub struct Database<D>(pub MemoryMessageStore<D>);

impl<D: Clone + Send + Sync + 'static> Database<D> {
    /// A statement of its own.
    async fn write<T>(&self, work: impl FnOnce(&mut D) -> T + Send) -> Result<T, Failure> {
        let mut tx = self.0.begin().await?;
        let done = work(tx.data());
        self.0.commit(tx).await?;
        Ok(done)
    }
}

#[async_trait]
impl<D: Clone + Send + Sync + 'static> MessageStore for Database<D> {
    type Tx = MemoryTx<D>;

    async fn begin(&self) -> Result<Self::Tx, Failure> {
        self.0.begin().await
    }

    async fn commit(&self, tx: Self::Tx) -> Result<(), Failure> {
        self.0.commit(tx).await
    }

    fn insert_inbox<'a>(&'a self, tx: &mut Self::Tx, handled: &[Handled]) -> Reply<'a, Vec<Seen>> {
        self.0.insert_inbox(tx, handled)
    }

    async fn lock_orders(&self, tx: &mut Self::Tx, orders: &[OrderId]) -> Result<(), Failure> {
        self.0.lock_orders(tx, orders).await
    }

    async fn enqueue(&self, tx: &mut Self::Tx, said: &[Outgoing]) -> Result<(), Failure> {
        self.0.enqueue(tx, said).await
    }

    async fn claim_unsent(&self, max: usize) -> Result<Unsent, Failure> {
        self.0.claim_unsent(max).await
    }

    async fn suspect(&self, unsent: &[EventId], reason: &str) -> Result<Vec<EventId>, Failure> {
        self.0.suspect(unsent, reason).await
    }

    async fn release(&self, unsent: &[EventId]) -> Result<(), Failure> {
        self.0.release(unsent).await
    }

    async fn forget_sent(&self, sent: &[EventId]) -> Result<(), Failure> {
        self.0.forget_sent(sent).await
    }

    async fn quarantine_start(&self, suspect: &[u8], attempt: Uuid) -> Result<u32, Failure> {
        self.0.quarantine_start(suspect, attempt).await
    }

    async fn quarantine_end(&self, suspect: &[u8]) -> Result<(), Failure> {
        self.0.quarantine_end(suspect).await
    }

    async fn postpone(&self, unsent: &[EventId], reason: &str) -> Result<(), Failure> {
        self.0.postpone(unsent, reason).await
    }
}

impl OrderRepository for Database<Orders> {
    async fn place(
        &self,
        placed: &[Placed],
        _lock_wait: LockWait,
    ) -> Result<HashMap<String, Answer>, Unwritten> {
        let mut tx = self.begin().await?;
        let (said, given) = tx.data().place(placed, SystemEnv.now());
        self.enqueue(&mut tx, &said).await?;
        self.commit(tx).await?;
        Ok(given)
    }

    async fn placed(&self, orders: &[OrderId]) -> Result<HashSet<OrderId>, Failure> {
        Ok(self.0.look(|book: &Orders| book.placed(orders)).await)
    }

    fn cancellable<'a>(
        &'a self,
        tx: &mut Self::Tx,
        orders: &[OrderId],
    ) -> Reply<'a, HashMap<OrderId, Cancellable>> {
        reply(Ok(tx.data().cancellable(orders)))
    }

    async fn overdue(
        &self,
        age: Duration,
        after: OrderId,
        max: usize,
    ) -> Result<Vec<OrderId>, Failure> {
        let before = SystemEnv.now() - age;
        let late = |book: &Orders| {
            book.overdue(before, after).map(|(id, _)| id).take(max).collect::<Vec<_>>()
        };
        Ok(self.0.look(late).await)
    }
}

impl ChargeRepository for Database<Payments> {
    async fn take_due(&self, claim: Uuid, max: usize) -> Result<Vec<Charge>, Failure> {
        let now = Instant::now();
        if !self.0.look(|rows| rows.open().any(|row| row.is_due(now))).await {
            return Ok(Vec::new());
        }
        self.write(|rows| charges::take_due(rows, now, claim, max)).await
    }

    async fn put_back(&self, age: Duration, max: usize) -> Result<usize, Failure> {
        let now = Instant::now();
        if !self.0.look(|rows| rows.open().any(|row| row.is_left(now, age))).await {
            return Ok(0);
        }
        self.write(|rows| charges::put_back(rows, now, age, max, Charge::put_back).len()).await
    }

    async fn next_due_in(&self) -> Result<Option<Duration>, Failure> {
        Ok(self.0.look(charges::next_due_in).await)
    }

    fn load(&self, tx: &mut Self::Tx, orders: &[OrderId]) -> Reply<'static, Batch<Payment>> {
        reply(Ok(charges::load(tx.data(), orders)))
    }

    async fn save(&self, tx: &mut Self::Tx, payments: &Batch<Payment>) -> Result<(), Failure> {
        charges::save(tx.data(), payments);
        Ok(())
    }
}
