//! Orders and the answers to idempotency keys.

use crate::Tables;
use chrono::{DateTime, Utc};
use database::Failure;
use events::{Event, OrderCancelRequested, OrderId, ProductId};
use messaging::{Outgoing, Reply, Store, reply};
use order::{Answer, Cancellable, Feeds, Loaded, Order, Placed, Status, View};
use rpds::RedBlackTreeMapSync as Map;
use std::{
    collections::{HashMap, HashSet},
    marker::PhantomData,
    ops::Bound,
    sync::Arc,
};

#[derive(Clone, Default)]
pub struct Orders {
    pub rows: Map<OrderId, Arc<Row>>,
    pub answers: Map<String, Arc<Answer>>,
}

#[derive(Clone)]
pub struct Row {
    pub view: View,
    pub trace: Option<String>,
    pub placed_at: DateTime<Utc>,
}

impl Orders {
    /// Skips an order whose idempotency key was answered before; returns the events of the others,
    /// and those answers, by key.
    pub fn place(
        &mut self,
        placed: &[Placed],
        placed_at: DateTime<Utc>,
    ) -> (Vec<Outgoing>, HashMap<String, Answer>) {
        let (mut said, mut given) = (Vec::new(), HashMap::new());
        for new in placed {
            if let Some(asked) = &new.answer {
                if let Some(first) = asked.given(|key| self.answers.get(key).map(|one| &**one)) {
                    given.insert(asked.key.clone(), Answer::clone(first));
                    continue;
                }
                self.answers.insert_mut(asked.key.clone(), asked.clone().into());
            }
            let (view, trace) = (new.view.clone(), new.said.trace.clone());
            self.rows.insert_mut(new.view.id, Row { view, trace, placed_at }.into());
            said.push(new.said.clone());
        }
        (said, given)
    }

    /// Those of them that there are.
    pub fn placed(&self, orders: &[OrderId]) -> HashSet<OrderId> {
        orders.iter().copied().filter(|id| self.rows.contains_key(id)).collect()
    }

    pub fn cancellable(&self, orders: &[OrderId]) -> HashMap<OrderId, Cancellable> {
        let known = orders.iter().filter_map(|id| {
            let Row { view, trace, .. } = &**self.rows.get(id)?;
            let trace = trace.clone();
            let (payment_method, total_amount) = (view.payment_method, view.total_amount);
            Some((*id, Cancellable { payment_method, total_amount, trace }))
        });
        known.collect()
    }

    /// Those after this one that were created before then, run on, and have not been cancelled.
    pub fn overdue(
        &self,
        before: DateTime<Utc>,
        after: OrderId,
    ) -> impl Iterator<Item = (OrderId, &Row)> {
        let rows = self.rows.range((Bound::Excluded(after), Bound::Unbounded));
        let is_late = move |row: &Row| row.view.created_at < before && runs_on(&row.view.order);
        rows.map(|(id, row)| (*id, &**row)).filter(move |(_, row)| is_late(row))
    }
}

fn runs_on(order: &Order) -> bool {
    Status::RUNNING.contains(&order.status()) && order.fact(OrderCancelRequested::NAME).is_none()
}

pub struct OrderStore<T> {
    /// Receive every committed change.
    feeds: Feeds,
    tx: PhantomData<fn(T)>,
}

impl<T> OrderStore<T> {
    pub const fn new(feeds: Feeds) -> Self {
        Self { feeds, tx: PhantomData }
    }
}

impl<T> Default for OrderStore<T> {
    fn default() -> Self {
        Self::new(Feeds::default())
    }
}

impl<T> Clone for OrderStore<T> {
    fn clone(&self) -> Self {
        Self::new(self.feeds.clone())
    }
}

impl<T: Tables<Orders>> Store for OrderStore<T> {
    type Tx = T;
    type State = Order;
    type Batch = Loaded;

    fn load(
        &self,
        tx: &mut T,
        orders: &[OrderId],
        _touched: &[ProductId],
    ) -> Reply<'static, Loaded> {
        let rows = &tx.data().rows;
        let known = orders.iter().filter_map(|id| Some((*id, rows.get(id)?.view.order.clone())));
        reply(Ok(Loaded::new(known)))
    }

    async fn save(&self, tx: &mut T, batch: &Loaded) -> Result<(), Failure> {
        for (id, order) in batch.changed() {
            let row = tx.data().rows.get_mut(&id);
            let row =
                row.ok_or_else(|| Failure::permanent("a fact of an order that is not there"))?;
            Arc::make_mut(row).view.order = order.clone();
        }
        Ok(())
    }

    fn committed(&self, batch: Loaded) {
        self.feeds.committed(&batch);
    }
}
