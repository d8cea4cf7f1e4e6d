//! Answers what order's HTTP routes and page ask, from order's tables in memory.

use crate::database::Database;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use database::Failure;
use dead_letters::{Letter, Past};
use events::{CancelReason, OrderId, said_at};
use memory_stores::order::{OrderStore, Orders, Row};
use messaging::MemoryTx;
use order::{
    Outcome, Status, View,
    acts::Act,
    cancel,
    store::{Backend, Counts, Cursor, EACH, Filter, Lately, NEWEST, OUTCOMES, Scope},
};
use service::Context;
use std::{collections::BTreeSet, sync::Arc};
use uuid::Uuid;

pub struct Memory {
    pub context: Context<Database<Orders>>,
    pub store: OrderStore<MemoryTx<Orders>>,
}

impl Memory {
    async fn look<T>(&self, at: impl FnOnce(&Orders) -> T) -> Result<T, Failure> {
        Ok(self.context.message_store.0.look(at).await)
    }
}

/// Newest first.
fn newest(orders: &Orders) -> impl Iterator<Item = &Row> {
    orders.rows.values().rev().map(|row| &**row)
}

fn outcome(row: &Row) -> Option<Status> {
    Some(row.view.order.status()).filter(|status| status.is_final())
}

#[async_trait]
impl Backend for Memory {
    async fn get(&self, id: OrderId, _: Scope<'_>) -> Result<Option<View>, Failure> {
        self.look(|orders| orders.rows.get(&id).map(|row| row.view.clone())).await
    }

    /// There are no keys, so no client has orders of its own.
    async fn is_of(&self, _: OrderId, _: &str) -> Result<bool, Failure> {
        Ok(false)
    }

    async fn list(&self, filter: &Filter) -> Result<(Vec<View>, Option<Cursor>), Failure> {
        let fits = |row: &&Row| {
            filter.status.is_none_or(|status| row.view.order.status() == status)
                && filter.customer_id.is_none_or(|customer| row.view.customer_id == customer)
                && filter.after.is_none_or(|Cursor(after)| row.view.id < after)
        };
        let mut views: Vec<_> = self
            .look(|orders| {
                let found = newest(orders).filter(fits).take(filter.limit.saturating_add(1));
                found.map(|row| row.view.clone()).collect()
            })
            .await?;
        let is_more = views.len() > filter.limit;
        views.truncate(filter.limit);
        let next = views.last().filter(|_| is_more).map(|view| Cursor(view.id));
        Ok((views, next))
    }

    async fn lately(
        &self,
        since: DateTime<Utc>,
        count: u32,
        _: Scope<'_>,
    ) -> Result<Lately, Failure> {
        self.look(|orders| {
            let seen: Vec<_> = newest(orders).take(count as usize).collect();
            let is_full = seen.len() == count as usize;
            let back_to = seen.last().filter(|_| is_full).and_then(|row| said_at(row.view.id));
            let changed = seen.iter().rev().filter(|row| row.view.updated_at() >= since);
            let orders = changed.map(|row| (row.view.id, row.view.order.clone(), None)).collect();
            Lately { orders, back_to }
        })
        .await
    }

    async fn glance(&self, also: &[OrderId]) -> Result<Vec<View>, Failure> {
        self.look(|orders| {
            let id = |row: &Row| row.view.id;
            let mut ids: BTreeSet<_> = also.iter().copied().collect();
            ids.extend(newest(orders).take(NEWEST as usize).map(id));
            for wanted in OUTCOMES {
                let such = newest(orders).filter(|row| outcome(row) == wanted);
                ids.extend(such.take(EACH as usize).map(id));
            }
            let open = orders.rows.values().filter(|row| outcome(row).is_none());
            ids.extend(open.take(EACH as usize).map(|row| id(row)));
            let rows = ids.iter().rev().filter_map(|id| orders.rows.get(id));
            rows.map(|row| row.view.clone()).collect()
        })
        .await
    }

    async fn count(&self) -> Result<Counts, Failure> {
        self.look(|orders| {
            let mut counts: Counts = OUTCOMES.iter().map(|outcome| (*outcome, 0)).collect();
            for row in newest(orders) {
                let outcome = outcome(row);
                counts.iter_mut().filter(|(one, _)| *one == outcome).for_each(|(_, n)| *n += 1);
            }
            counts
        })
        .await
    }

    async fn trace(&self, id: OrderId) -> Result<Option<String>, Failure> {
        self.look(|orders| orders.rows.get(&id)?.trace.clone()).await
    }

    async fn cancel(
        &self,
        id: OrderId,
        reason: CancelReason,
        trace: Option<String>,
    ) -> Result<Outcome, Failure> {
        cancel(self.context.clone(), self.store.clone(), id, reason, trace).await
    }

    async fn begin_acts(&self, acts: &[Act]) -> Result<(), Failure> {
        for Act { by, what, subject, .. } in acts {
            tracing::info!(who = by.who, what, subject, "operator's act");
        }
        Ok(())
    }

    async fn end_acts(&self, _: &[(Uuid, &str)]) -> Result<(), Failure> {
        Ok(())
    }

    async fn pasts(&self, letters: &[&Letter]) -> anyhow::Result<Vec<Past>> {
        let inbox = self.context.message_store.0.handled().await;
        let past = |letter: &&Letter| {
            let same = inbox.iter().find(|row| Some(row.event_id) == letter.event_id());
            Past { handled: same.map(|row| row.digest.clone()), prior_action: None }
        };
        Ok(letters.iter().map(past).collect())
    }

    async fn revive(&self, _: &Letter) -> anyhow::Result<bool> {
        Ok(true)
    }
}

/// As it is given to the routes.
pub fn backend(
    context: &Context<Database<Orders>>,
    store: &OrderStore<MemoryTx<Orders>>,
) -> Arc<dyn Backend> {
    Arc::new(Memory { context: context.clone(), store: store.clone() })
}
