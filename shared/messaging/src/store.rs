//! What a service has to bring: how a batch of its states is loaded and saved.

use crate::Failure;
use events::{OrderId, ProductId};
use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
};

pub trait Store: Send + Sync + 'static {
    type Tx: Send;
    /// What the service knows of one order.
    type State: Send;
    type Batch: Known<Self::State> + Send + Sync;

    /// Loads these orders' states, and the rows that the decisions touch beside them. The orders
    /// are locked already.
    fn load(
        &self,
        tx: &mut Self::Tx,
        orders: &[OrderId],
        touched: &[ProductId],
    ) -> impl Future<Output = Result<Self::Batch, Failure>> + Send;

    /// Follows each change of an order's state, before the next decision.
    fn decided(&self, _batch: &mut Self::Batch, _order: OrderId) {}

    fn save(
        &self,
        tx: &mut Self::Tx,
        batch: &Self::Batch,
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// What was saved is so for good.
    fn committed(&self, _batch: Self::Batch) {}
}

/// A loaded batch, decided on one order after the other.
pub trait Known<S> {
    /// What the decision on this order sees, with the rows that it touches.
    fn of(&self, order: OrderId, touched: &[ProductId]) -> S;
    fn keep(&mut self, order: OrderId, state: S);
}

/// The plain batch: one state an order.
pub struct Batch<S> {
    known: BTreeMap<OrderId, S>,
    changed: BTreeSet<OrderId>,
}

impl<S> Batch<S> {
    pub fn new(known: impl IntoIterator<Item = (OrderId, S)>) -> Self {
        Self { known: known.into_iter().collect(), changed: BTreeSet::new() }
    }

    /// `None` if it is not known.
    pub fn get(&self, order: OrderId) -> Option<&S> {
        self.known.get(&order)
    }

    /// What is to be saved.
    pub fn changed(&self) -> impl Iterator<Item = (OrderId, &S)> {
        self.changed.iter().filter_map(|order| Some((*order, self.known.get(order)?)))
    }
}

impl<S: Clone + Default> Known<S> for Batch<S> {
    fn of(&self, order: OrderId, _touched: &[ProductId]) -> S {
        self.known.get(&order).cloned().unwrap_or_default()
    }

    fn keep(&mut self, order: OrderId, state: S) {
        self.known.insert(order, state);
        self.changed.insert(order);
    }
}
