//! All SQL of the service. Here: what the loop needs, facts in and out.

mod answers;
mod book;
mod place;
mod read;

use crate::{
    order::{Fact, Order},
    watchers::Watchers,
};
use chrono::{DateTime, Utc};
use database::{Failure, Transaction};
use events::{EVENTS, EventId, OrderId, ProductId};
use messaging::{Known, Store};
use serde::Deserialize;
use serde_json::Value;
use sqlx::FromRow;
use std::collections::BTreeMap;
use telemetry::metrics;
use uuid::Uuid;

pub use answers::{Answer, Keys, forget_answers};
pub use book::OrderBook;
pub use place::Placed;
pub use read::{Cancellable, Cursor, Filter, get, list, order, stuck};

#[derive(Clone, Default)]
pub struct Orders {
    pub watchers: Watchers,
}

/// Orders as they were loaded, and what they have heard since.
#[derive(Default)]
pub struct Loaded {
    known: BTreeMap<OrderId, Order>,
    news: Vec<(OrderId, Fact)>,
    ended: Vec<OrderId>,
}

impl Known<Order> for Loaded {
    fn of(&self, order: OrderId, _touched: &[ProductId]) -> Order {
        self.known.get(&order).cloned().unwrap_or_default()
    }

    fn keep(&mut self, order: OrderId, state: Order) {
        let before = self.of(order, &[]);
        if state.status().is_final() && !before.status().is_final() {
            self.ended.push(order);
        }
        let news = state.timeline().iter().filter(|fact| before.fact(fact.event).is_none());
        self.news.extend(news.map(|fact| (order, fact.clone())));
        self.known.insert(order, state);
    }
}

impl Store for Orders {
    type Tx = Transaction;
    type State = Order;
    type Batch = Loaded;

    async fn load(
        &self,
        tx: &mut Transaction,
        orders: &[OrderId],
        _touched: &[ProductId],
    ) -> Result<Loaded, Failure> {
        let rows: Vec<FactRow> = sqlx::query_as(
            "SELECT order_id, event, event_id, at, caused_by, detail::TEXT
             FROM order_facts
             WHERE order_id = ANY($1)",
        )
        .bind(orders)
        .fetch_all(&mut **tx)
        .await?;
        let mut loaded = Loaded::default();
        for row in rows {
            let order = loaded.known.entry(row.order_id).or_default();
            if let Some(fact) = row.fact()? {
                order.remember(fact);
            }
        }
        Ok(loaded)
    }

    async fn save(&self, tx: &mut Transaction, batch: Loaded) -> Result<(), Failure> {
        if batch.news.is_empty() {
            return Ok(());
        }
        let news: Vec<_> = batch.news.iter().map(|(order, fact)| (*order, fact)).collect();
        insert_facts(tx, &news).await?;
        let mut changed: Vec<OrderId> = news.iter().map(|(order, _)| *order).collect();
        changed.sort_unstable();
        changed.dedup();
        let changed: Vec<_> =
            changed.into_iter().filter_map(|id| Some((id, batch.known.get(&id)?))).collect();
        sqlx::query(
            "UPDATE orders
             SET status = new.status,
                 tracking_code = new.tracking_code,
                 updated_at = new.updated_at
             FROM UNNEST($1::UUID[], $2::TEXT[], $3::TEXT[], $4::TIMESTAMPTZ[])
                 AS new (id, status, tracking_code, updated_at)
             WHERE orders.id = new.id",
        )
        .bind(changed.iter().map(|(id, _)| *id).collect::<Vec<_>>())
        .bind(changed.iter().map(|(_, order)| order.status().name()).collect::<Vec<_>>())
        .bind(changed.iter().map(|(_, order)| order.tracking_code()).collect::<Vec<_>>())
        .bind(changed.iter().map(|(_, order)| order.updated_at()).collect::<Vec<_>>())
        .execute(&mut **tx)
        .await?;
        // Only a commit that fails could still make this untrue.
        for order in batch.ended.iter().filter_map(|id| batch.known.get(id)) {
            metrics::ENDED.record(order.age(), [order.status().name()]);
        }
        Ok(())
    }

    fn committed(&self, orders: &[OrderId]) {
        self.watchers.wake(orders);
    }
}

async fn insert_facts(tx: &mut Transaction, facts: &[(OrderId, &Fact)]) -> Result<(), Failure> {
    sqlx::query(
        "INSERT INTO order_facts (order_id, event, event_id, at, caused_by, detail)
         SELECT order_id, event, event_id, at, caused_by, detail::JSONB
         FROM UNNEST($1::UUID[], $2::TEXT[], $3::UUID[], $4::TIMESTAMPTZ[], $5::UUID[], $6::TEXT[])
             AS new (order_id, event, event_id, at, caused_by, detail)",
    )
    .bind(facts.iter().map(|(order, _)| *order).collect::<Vec<_>>())
    .bind(facts.iter().map(|(_, fact)| fact.event).collect::<Vec<_>>())
    .bind(facts.iter().map(|(_, fact)| fact.event_id).collect::<Vec<_>>())
    .bind(facts.iter().map(|(_, fact)| fact.at).collect::<Vec<_>>())
    .bind(facts.iter().map(|(_, fact)| fact.caused_by).collect::<Vec<_>>())
    .bind(facts.iter().map(|(_, fact)| fact.detail.to_string()).collect::<Vec<_>>())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

#[derive(FromRow)]
struct FactRow {
    order_id: Uuid,
    event: String,
    event_id: EventId,
    at: DateTime<Utc>,
    caused_by: Option<EventId>,
    detail: String,
}

impl FactRow {
    fn fact(self) -> Result<Option<Fact>, Failure> {
        let Self { event, event_id, at, caused_by, .. } = self;
        let detail = serde_json::from_str(&self.detail).map_err(Failure::data)?;
        Ok(StoredFact { event, event_id, at, caused_by, detail }.fact())
    }
}

/// A row of `order_facts`, also as Postgres writes it in JSON.
#[derive(Deserialize)]
struct StoredFact {
    event: String,
    event_id: EventId,
    at: DateTime<Utc>,
    caused_by: Option<EventId>,
    detail: Value,
}

impl StoredFact {
    /// None for an event that only a newer version of this service knows.
    fn fact(self) -> Option<Fact> {
        let event = EVENTS.iter().copied().find(|event| *event == self.event)?;
        let Self { event_id, at, caused_by, detail, .. } = self;
        Some(Fact { event, event_id, at, caused_by, detail })
    }
}

#[cfg(test)]
mod tests;
