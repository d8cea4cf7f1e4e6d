//! Defines a service's store: loads and saves a batch of its states.

use crate::{Failure, Reply};
use events::{OrderId, ProductId};
use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
};

pub trait Store: Send + Sync + 'static {
    type Tx: Send;
    /// The service's state of one order.
    type State: Send;
    type Batch: LoadedBatch<Self::State> + Send + Sync;

    /// Loads these orders' states, and the other rows that the decisions touch. The orders are
    /// locked already.
    fn load(
        &self,
        tx: &mut Self::Tx,
        orders: &[OrderId],
        touched: &[ProductId],
    ) -> Reply<'static, Self::Batch>;

    /// Called after each change of an order's state, before the next decision.
    fn decided(&self, _batch: &mut Self::Batch, _order: OrderId) {}

    fn save(
        &self,
        tx: &mut Self::Tx,
        batch: &Self::Batch,
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// The saved batch is committed.
    fn committed(&self, _batch: Self::Batch) {}
}

/// A loaded batch, decided on one order after another.
pub trait LoadedBatch<S> {
    /// The state that the decision on this order sees, with the rows that it touches.
    fn get(&self, order: OrderId, touched: &[ProductId]) -> S;
    fn put(&mut self, order: OrderId, state: S);
}

/// The plain batch: one state per order.
pub struct Batch<S> {
    known: BTreeMap<OrderId, S>,
    changed: BTreeSet<OrderId>,
}

impl<S> Batch<S> {
    pub fn new(known: impl IntoIterator<Item = (OrderId, S)>) -> Self {
        Self { known: known.into_iter().collect(), changed: BTreeSet::new() }
    }

    /// `None` if it is unknown.
    pub fn find(&self, order: OrderId) -> Option<&S> {
        self.known.get(&order)
    }

    /// What is to be saved.
    pub fn changed(&self) -> impl Iterator<Item = (OrderId, &S)> {
        self.changed.iter().filter_map(|order| Some((*order, self.known.get(order)?)))
    }
}

impl<S: Clone + Default> LoadedBatch<S> for Batch<S> {
    fn get(&self, order: OrderId, _touched: &[ProductId]) -> S {
        self.known.get(&order).cloned().unwrap_or_default()
    }

    fn put(&mut self, order: OrderId, state: S) {
        self.known.insert(order, state);
        self.changed.insert(order);
    }
}
