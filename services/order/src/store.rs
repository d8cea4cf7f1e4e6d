//! Holds all SQL of the service. Here: the loading and saving of facts for the consumer.

mod acts;
mod answers;
mod backend;
mod glance;
mod keys;
mod place;
mod read;
mod repository;

use crate::{
    feed::{Change, Feeds},
    order::{Fact, Order},
};
use chrono::{DateTime, Utc};
use database::{Failure, Transaction};
use events::{EVENTS, EventId, OrderId, ProductId};
use futures::FutureExt;
use messaging::{LoadedBatch, Reply, Store};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

pub use acts::{LoggedAct, begin_acts, end_acts, list_acts, take_unlogged};
pub use answers::{Answer, forget_answers};
pub(crate) use backend::Postgres;
pub use backend::{Backend, Counts, Scope};
pub use glance::{
    COUNTED_MAX, Changed, EACH, Lately, NEWEST, OUTCOMES, count, further, glance, lately, running,
    trace,
};
pub use keys::{KeyRow, ListedKey, create_key, holder_of, list_keys, revoke_key, valid_keys};
pub use place::{LockWait, Placed, Unwritten};
pub use read::{Cancellable, Cursor, Filter, get, is_of, list, order, stuck};
pub use repository::OrderRepository;

#[derive(Clone, Default)]
pub struct Orders {
    /// Receive every committed change.
    pub feeds: Feeds,
}

/// Orders as they were loaded, and the facts added since.
#[derive(Default)]
pub struct Loaded {
    known: BTreeMap<OrderId, Order>,
    /// Who has placed them, where keys are required.
    clients: BTreeMap<OrderId, Arc<str>>,
    news: BTreeMap<OrderId, Vec<Fact>>,
    ended: BTreeSet<OrderId>,
}

impl Loaded {
    pub fn new(known: impl IntoIterator<Item = (OrderId, Order)>) -> Self {
        Self { known: known.into_iter().collect(), ..Self::default() }
    }

    /// The orders with new facts.
    pub fn changed(&self) -> impl Iterator<Item = (OrderId, &Order)> {
        self.news.keys().filter_map(|id| Some((*id, self.known.get(id)?)))
    }

    pub(crate) fn changes(&self) -> Vec<Change<'_>> {
        let changes = self.news.iter().filter_map(|(id, news)| {
            let (order, has_ended) = (self.known.get(id)?, self.ended.contains(id));
            let client = self.clients.get(id).cloned();
            Some(Change { order_id: *id, client, order, news, has_ended })
        });
        changes.collect()
    }
}

impl LoadedBatch<Order> for Loaded {
    fn get(&self, order: OrderId, _touched: &[ProductId]) -> Order {
        self.known.get(&order).cloned().unwrap_or_default()
    }

    fn put(&mut self, order: OrderId, state: Order) {
        let before = self.known.entry(order).or_default();
        if state.status().is_final() && !before.status().is_final() {
            self.ended.insert(order);
        }
        let news = state.timeline().iter().filter(|fact| before.fact(fact.event).is_none());
        self.news.entry(order).or_default().extend(news.cloned());
        *before = state;
    }
}

impl Store for Orders {
    type Tx = Transaction;
    type State = Order;
    type Batch = Loaded;

    fn load(
        &self,
        tx: &mut Transaction,
        orders: &[OrderId],
        _touched: &[ProductId],
    ) -> Reply<'static, Loaded> {
        let query = tx.query("SELECT id, facts::TEXT, client FROM orders WHERE id = ANY($1)");
        let rows = query.bind(orders).rows::<(OrderId, String, Option<String>)>();
        let loaded = async move {
            let mut loaded = Loaded::default();
            for (id, facts, client) in rows.await? {
                loaded.known.insert(id, read_facts(&facts)?);
                loaded.clients.extend(client.map(|client| (id, client.into())));
            }
            Ok(loaded)
        };
        loaded.boxed()
    }

    /// Adds new facts to the stored ones: a newer version of this service may have stored facts
    /// that this one cannot read.
    async fn save(&self, tx: &mut Transaction, batch: &Loaded) -> Result<(), Failure> {
        if batch.news.is_empty() {
            return Ok(());
        }
        let changed: Vec<_> = batch
            .news
            .iter()
            .filter_map(|(id, news)| Some((*id, batch.known.get(id)?, write_facts(news))))
            .collect();
        tx.batch(
            "UPDATE orders
             SET facts = orders.facts || new.facts::JSONB,
                 status = new.status,
                 updated_at = new.updated_at
             FROM UNNEST($1::UUID[], $2::TEXT[], $3::TEXT[], $4::TIMESTAMPTZ[])
                 AS new (id, facts, status, updated_at)
             WHERE orders.id = new.id",
            changed.len(),
        )
        .each(changed.iter().map(|(id, ..)| *id))
        .each(changed.iter().map(|(.., news)| news.as_str()))
        .each(changed.iter().map(|(_, order, _)| order.status().name()))
        .each(changed.iter().map(|(_, order, _)| order.updated_at()))
        .run();
        Ok(())
    }

    fn committed(&self, batch: Loaded) {
        self.feeds.committed(&batch);
    }
}

/// A fact as stored in the database.
#[derive(Deserialize, Serialize)]
struct StoredFact<'a> {
    #[serde(borrow)]
    event: Cow<'a, str>,
    event_id: EventId,
    at: DateTime<Utc>,
    caused_by: Option<EventId>,
    detail: Cow<'a, Value>,
}

impl StoredFact<'_> {
    /// None for an event that only a newer version of this service knows.
    fn fact(self) -> Option<Fact> {
        let event = EVENTS.iter().copied().find(|event| *event == self.event)?;
        let Self { event_id, at, caused_by, detail, .. } = self;
        Some(Fact { event, event_id, at, caused_by, detail: detail.into_owned() })
    }
}

impl<'a> From<&'a Fact> for StoredFact<'a> {
    fn from(fact: &'a Fact) -> Self {
        let Fact { event, event_id, at, caused_by, detail } = fact;
        let (event_id, at, caused_by) = (*event_id, *at, *caused_by);
        Self { event: (*event).into(), event_id, at, caused_by, detail: Cow::Borrowed(detail) }
    }
}

fn read_facts(json: &str) -> Result<Order, Failure> {
    let facts: Vec<StoredFact> = serde_json::from_str(json).map_err(Failure::permanent)?;
    Ok(Order::new(facts.into_iter().filter_map(StoredFact::fact)))
}

fn write_facts(facts: &[Fact]) -> String {
    let stored: Vec<_> = facts.iter().map(StoredFact::from).collect();
    serde_json::to_string(&stored).expect("facts are plain data")
}

#[cfg(test)]
mod tests;
