//! Defines what the HTTP routes and the live page ask of the database: Postgres in production, in
//! memory for `saga play`.

use super::{
    Cursor, Filter, Lately, Orders, begin_acts, count, end_acts, get, glance, is_of, lately, list,
    order, trace,
};
use crate::{
    NAME,
    acts::Act,
    cancelling::{Outcome, cancel},
    order::{Order, Status},
    view::View,
};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use database::{Failure, PgPool};
use dead_letters::{Letter, Past, pasts_in, revive_in};
use events::{CancelReason, OrderId};
use service::Context;
use std::sync::Arc;
use uuid::Uuid;

/// The client is the one whose orders are seen; none sees all.
pub type Scope<'a> = Option<&'a Arc<str>>;

/// The number of orders by outcome, or without one.
pub type Counts = Vec<(Option<Status>, i64)>;

#[async_trait]
pub trait Backend: Send + Sync + 'static {
    async fn get(&self, id: OrderId, scope: Scope<'_>) -> Result<Option<View>, Failure>;

    /// Only its facts.
    async fn order(&self, id: OrderId, scope: Scope<'_>) -> Result<Option<Order>, Failure> {
        Ok(self.get(id, scope).await?.map(|view| view.order))
    }

    async fn is_of(&self, id: OrderId, client: &str) -> Result<bool, Failure>;
    async fn list(&self, filter: &Filter) -> Result<(Vec<View>, Option<Cursor>), Failure>;
    async fn lately(
        &self,
        since: DateTime<Utc>,
        newest: u32,
        scope: Scope<'_>,
    ) -> Result<Lately, Failure>;

    async fn glance(&self, also: &[OrderId]) -> Result<Vec<View>, Failure>;
    async fn count(&self) -> Result<Counts, Failure>;
    async fn trace(&self, id: OrderId) -> Result<Option<String>, Failure>;

    async fn cancel(
        &self,
        id: OrderId,
        reason: CancelReason,
        trace: Option<String>,
    ) -> Result<Outcome, Failure>;

    async fn begin_acts(&self, acts: &[Act]) -> Result<(), Failure>;
    async fn end_acts(&self, outcomes: &[(Uuid, &str)]) -> Result<(), Failure>;

    /// Order's own records of these dead letters.
    async fn pasts(&self, letters: &[&Letter]) -> anyhow::Result<Vec<Past>>;
    async fn revive(&self, letter: &Letter) -> anyhow::Result<bool>;
}

/// Order's own Postgres.
pub(crate) struct Postgres {
    pub context: Context,
    pub orders: Orders,
}

impl Postgres {
    const fn pool(&self) -> &PgPool {
        &self.context.message_store.pool
    }
}

#[async_trait]
impl Backend for Postgres {
    async fn get(&self, id: OrderId, scope: Scope<'_>) -> Result<Option<View>, Failure> {
        get(self.pool(), id, scope).await
    }

    async fn order(&self, id: OrderId, scope: Scope<'_>) -> Result<Option<Order>, Failure> {
        order(self.pool(), id, scope).await
    }

    async fn is_of(&self, id: OrderId, client: &str) -> Result<bool, Failure> {
        is_of(self.pool(), id, client).await
    }

    async fn list(&self, filter: &Filter) -> Result<(Vec<View>, Option<Cursor>), Failure> {
        list(self.pool(), filter).await
    }

    async fn lately(
        &self,
        since: DateTime<Utc>,
        newest: u32,
        scope: Scope<'_>,
    ) -> Result<Lately, Failure> {
        lately(self.pool(), since, newest, scope).await
    }

    async fn glance(&self, also: &[OrderId]) -> Result<Vec<View>, Failure> {
        glance(self.pool(), also).await
    }

    async fn count(&self) -> Result<Counts, Failure> {
        count(self.pool()).await
    }

    async fn trace(&self, id: OrderId) -> Result<Option<String>, Failure> {
        trace(self.pool(), id).await
    }

    async fn cancel(
        &self,
        id: OrderId,
        reason: CancelReason,
        trace: Option<String>,
    ) -> Result<Outcome, Failure> {
        cancel(self.context.clone(), self.orders.clone(), id, reason, trace).await
    }

    async fn begin_acts(&self, acts: &[Act]) -> Result<(), Failure> {
        Ok(begin_acts(self.pool(), acts).await?)
    }

    async fn end_acts(&self, outcomes: &[(Uuid, &str)]) -> Result<(), Failure> {
        Ok(end_acts(self.pool(), outcomes).await?)
    }

    async fn pasts(&self, letters: &[&Letter]) -> anyhow::Result<Vec<Past>> {
        pasts_in(&mut self.pool().acquire().await?, NAME, letters).await
    }

    async fn revive(&self, letter: &Letter) -> anyhow::Result<bool> {
        revive_in(&mut self.pool().acquire().await?, letter).await
    }
}
