//! What placing and cancelling need of order's database beside what the loop needs: Postgres in
//! earnest, in-memory for the simulation.

use super::{Cancellable, Keys, Placed, answers, place, read};
use chrono::{DateTime, Utc};
use database::{Failure, Transaction};
use events::OrderId;
use messaging::{Ledger, PgLedger};
use std::future::Future;

pub trait OrderBook: Ledger {
    /// Takes these idempotency keys until the transaction ends, where nobody else has them, and
    /// tells what was answered under them before.
    fn claim_keys(
        &self,
        tx: &mut Self::Tx,
        keys: &[&str],
    ) -> impl Future<Output = Result<Keys, Failure>> + Send;

    /// Writes new orders, whole: with their answers, and what is said about them.
    fn place(
        &self,
        tx: &mut Self::Tx,
        placed: &[Placed],
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// `None` where there is no such order.
    fn cancellable(
        &self,
        tx: &mut Self::Tx,
        order: OrderId,
    ) -> impl Future<Output = Result<Option<Cancellable>, Failure>> + Send;

    /// Orders placed before that moment that run on as if nothing were wrong, oldest first.
    fn overdue(
        &self,
        before: DateTime<Utc>,
    ) -> impl Future<Output = Result<Vec<OrderId>, Failure>> + Send;
}

impl OrderBook for PgLedger {
    async fn claim_keys(&self, tx: &mut Transaction, keys: &[&str]) -> Result<Keys, Failure> {
        answers::claim_keys(tx, keys).await
    }

    async fn place(&self, tx: &mut Transaction, placed: &[Placed]) -> Result<(), Failure> {
        place::place(tx, self, placed).await
    }

    async fn cancellable(
        &self,
        tx: &mut Transaction,
        order: OrderId,
    ) -> Result<Option<Cancellable>, Failure> {
        read::cancellable(tx, order).await
    }

    async fn overdue(&self, before: DateTime<Utc>) -> Result<Vec<OrderId>, Failure> {
        read::overdue(&self.pool, before).await
    }
}
