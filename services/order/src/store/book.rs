//! What placing and cancelling need of order's database beside what the loop needs: Postgres in
//! earnest, in-memory for the simulation.

use super::{Answer, Cancellable, Placed, place, read};
use chrono::{DateTime, Utc};
use database::{Failure, Transaction};
use events::OrderId;
use messaging::{Ledger, PgLedger};
use std::{collections::HashMap, future::Future};

pub trait OrderBook: Ledger {
    /// Writes new orders, whole: with their answers, and what is said about them. Of an order whose
    /// idempotency key was answered before nothing is written; gives back these answers, by key.
    fn place(
        &self,
        placed: &[Placed],
    ) -> impl Future<Output = Result<HashMap<String, Answer>, Failure>> + Send;

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
    async fn place(&self, placed: &[Placed]) -> Result<HashMap<String, Answer>, Failure> {
        place::place(self, placed).await
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
