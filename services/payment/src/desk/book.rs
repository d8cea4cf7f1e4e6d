//! What the desk needs of payment's database: Postgres in earnest, in-memory for the simulation.

use crate::{
    payment::{Charge, Payment},
    store,
};
use database::{Failure, Transaction};
use events::OrderId;
use messaging::{Batch, Ledger, PgLedger};
use std::{future::Future, time::Duration};
use uuid::Uuid;

pub trait ChargeBook: Ledger {
    /// Takes up what is due, for `claim`: from here on nobody else does, and a crash leaves the
    /// mark.
    fn take_due(
        &self,
        claim: Uuid,
        max: usize,
    ) -> impl Future<Output = Result<Vec<Charge>, Failure>> + Send;

    /// Puts back what someone has had in hand for too long: a charge is in doubt from then on, and
    /// due to be looked up.
    fn put_back(
        &self,
        age: Duration,
        max: usize,
    ) -> impl Future<Output = Result<usize, Failure>> + Send;

    /// How long until something is due that is not due yet.
    fn next_due_in(&self) -> impl Future<Output = Result<Option<Duration>, Failure>> + Send;

    fn load(
        &self,
        tx: &mut Self::Tx,
        orders: &[OrderId],
    ) -> impl Future<Output = Result<Batch<Payment>, Failure>> + Send;

    fn save(
        &self,
        tx: &mut Self::Tx,
        payments: &Batch<Payment>,
    ) -> impl Future<Output = Result<(), Failure>> + Send;
}

impl ChargeBook for PgLedger {
    async fn take_due(&self, claim: Uuid, max: usize) -> Result<Vec<Charge>, Failure> {
        store::take_due(self, claim, max).await
    }

    async fn put_back(&self, age: Duration, max: usize) -> Result<usize, Failure> {
        store::put_back(self, age, max).await
    }

    async fn next_due_in(&self) -> Result<Option<Duration>, Failure> {
        store::next_due_in(&self.pool).await
    }

    async fn load(
        &self,
        tx: &mut Transaction,
        orders: &[OrderId],
    ) -> Result<Batch<Payment>, Failure> {
        store::load(tx, orders).await
    }

    async fn save(&self, tx: &mut Transaction, payments: &Batch<Payment>) -> Result<(), Failure> {
        store::save(tx, payments);
        Ok(())
    }
}
