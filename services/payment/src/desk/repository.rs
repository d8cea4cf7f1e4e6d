//! Defines the desk's database operations: Postgres in production, in-memory for the simulation.

use crate::{
    payment::{Charge, Payment},
    store,
};
use database::{Failure, Transaction};
use events::OrderId;
use messaging::{Batch, MessageStore, PgMessageStore, Reply};
use std::{future::Future, time::Duration};
use uuid::Uuid;

pub trait ChargeRepository: MessageStore {
    /// Claims what is due under `claim`: no other desk takes it, and a crash leaves the claim
    /// behind.
    fn take_due(
        &self,
        claim: Uuid,
        max: usize,
    ) -> impl Future<Output = Result<Vec<Charge>, Failure>> + Send;

    /// Releases the claims of dead copies, and those that are older than `age`: the outcome of such
    /// a charge is unknown, and it is due for a look-up.
    fn put_back(
        &self,
        age: Duration,
        max: usize,
    ) -> impl Future<Output = Result<usize, Failure>> + Send;

    /// Releases this copy's own claims that are older than `age` and not held: the answer to their
    /// commit was lost. What is not held once a claim is seen here never will be.
    fn put_back_lost(
        &self,
        _age: Duration,
        _is_held: impl Fn(Uuid) -> bool + Send,
    ) -> impl Future<Output = Result<usize, Failure>> + Send {
        async { Ok(0) }
    }

    /// The time until the next charge is due.
    fn next_due_in(&self) -> impl Future<Output = Result<Option<Duration>, Failure>> + Send;

    fn load(&self, tx: &mut Self::Tx, orders: &[OrderId]) -> Reply<'static, Batch<Payment>>;

    fn save(
        &self,
        tx: &mut Self::Tx,
        payments: &Batch<Payment>,
    ) -> impl Future<Output = Result<(), Failure>> + Send;
}

impl ChargeRepository for PgMessageStore {
    async fn take_due(&self, claim: Uuid, max: usize) -> Result<Vec<Charge>, Failure> {
        store::take_due(self, claim, max).await
    }

    async fn put_back(&self, age: Duration, max: usize) -> Result<usize, Failure> {
        store::put_back(self, age, max).await
    }

    async fn put_back_lost(
        &self,
        age: Duration,
        is_held: impl Fn(Uuid) -> bool + Send,
    ) -> Result<usize, Failure> {
        store::put_back_lost(self, age, is_held).await
    }

    async fn next_due_in(&self) -> Result<Option<Duration>, Failure> {
        store::next_due_in(&self.pool).await
    }

    fn load(&self, tx: &mut Transaction, orders: &[OrderId]) -> Reply<'static, Batch<Payment>> {
        store::load(tx, orders)
    }

    async fn save(&self, tx: &mut Transaction, payments: &Batch<Payment>) -> Result<(), Failure> {
        store::save(tx, payments);
        Ok(())
    }
}
