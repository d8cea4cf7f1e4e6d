//! Inventory's state for all orders, which share the products.

use events::{OrderId, ProductId};
use inventory::{Product, Shelf, Shelves};
use messaging::LoadedBatch;
use reaction::Decision;
use std::collections::BTreeMap;

/// Inventory's state for each order; the products are the same for all.
#[derive(Clone, Debug)]
pub struct Stock(BTreeMap<OrderId, Shelf>);

impl Stock {
    /// The number of pieces of one product.
    pub fn of(orders: impl Iterator<Item = OrderId>, product: ProductId, total: u64) -> Self {
        let products = BTreeMap::from([(product, Product { total, reserved: 0 })]);
        let shelf = Shelf { products, ..Shelf::default() };
        Self(orders.map(|order| (order, shelf.clone())).collect())
    }

    pub fn shelves(&self) -> impl Iterator<Item = (OrderId, &Shelf)> {
        self.0.iter().map(|(order, shelf)| (*order, shelf))
    }

    pub fn products(&self) -> BTreeMap<ProductId, Product> {
        self.0.values().flat_map(|shelf| shelf.products.clone()).collect()
    }

    /// A decision for one order, in a batch as shipped.
    pub fn decide(
        &self,
        order: OrderId,
        touched: &[ProductId],
        decide: impl FnOnce(Shelf) -> Decision<Shelf>,
    ) -> Decision<Self> {
        let mut shelves = Shelves::default();
        self.shelves().for_each(|(order, shelf)| shelves.put(order, shelf.clone()));
        match decide(shelves.get(order, touched)) {
            Decision::Nothing => Decision::Nothing,
            Decision::Impossible(reason) => Decision::Impossible(reason),
            Decision::Change { state, says } => {
                shelves.put(order, state);
                let all: Vec<_> = self.products().into_keys().collect();
                let after = self.0.keys().map(|order| (*order, shelves.get(*order, &all)));
                Decision::Change { state: Self(after.collect()), says }
            }
        }
    }
}
