//! Defines the database operations of placing and cancelling beyond the consumer's: Postgres in
//! production, in-memory for the simulation.

use super::{Answer, Cancellable, LockWait, Placed, Unwritten, place, read};
use database::{Failure, Transaction};
use events::OrderId;
use messaging::{MessageStore, PgMessageStore, Reply};
use std::{
    collections::{HashMap, HashSet},
    future::Future,
    time::Duration,
};

pub trait OrderRepository: MessageStore {
    /// Writes new orders, with their answers and events. Skips an order whose idempotency key was
    /// answered before; returns those answers, by key.
    fn place(
        &self,
        placed: &[Placed],
        lock_wait: LockWait,
    ) -> impl Future<Output = Result<HashMap<String, Answer>, Unwritten>> + Send;

    /// Which of these orders there are.
    fn placed(
        &self,
        orders: &[OrderId],
    ) -> impl Future<Output = Result<HashSet<OrderId>, Failure>> + Send;

    /// Of those that there are.
    fn cancellable<'a>(
        &'a self,
        tx: &mut Self::Tx,
        orders: &[OrderId],
    ) -> Reply<'a, HashMap<OrderId, Cancellable>>;

    /// Orders of at least that age, by the database's clock, whose status is a running one; those
    /// after the given one, oldest first.
    fn overdue(
        &self,
        age: Duration,
        after: OrderId,
        max: usize,
    ) -> impl Future<Output = Result<Vec<OrderId>, Failure>> + Send;
}

impl OrderRepository for PgMessageStore {
    async fn place(
        &self,
        placed: &[Placed],
        lock_wait: LockWait,
    ) -> Result<HashMap<String, Answer>, Unwritten> {
        place::place(self, placed, lock_wait).await
    }

    async fn placed(&self, orders: &[OrderId]) -> Result<HashSet<OrderId>, Failure> {
        place::placed(&self.pool, orders).await
    }

    fn cancellable<'a>(
        &'a self,
        tx: &mut Transaction,
        orders: &[OrderId],
    ) -> Reply<'a, HashMap<OrderId, Cancellable>> {
        read::cancellable(tx, orders)
    }

    async fn overdue(
        &self,
        age: Duration,
        after: OrderId,
        max: usize,
    ) -> Result<Vec<OrderId>, Failure> {
        read::overdue(&self.pool, age, after, max).await
    }
}
