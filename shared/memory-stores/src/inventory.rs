//! Products, reservations and refusals; the batch is the service's own.

use crate::Tables;
use database::Failure;
use events::{OrderId, ProductId};
use inventory::{Product, Reservation, Shelf, Shelves};
use messaging::{Reply, Store, reply};
use rpds::{RedBlackTreeMapSync as Map, RedBlackTreeSetSync as Set};
use std::{collections::BTreeMap, marker::PhantomData, sync::Arc};

#[derive(Clone)]
pub struct Stock {
    pub products: BTreeMap<ProductId, Product>,
    pub reservations: Map<OrderId, Arc<Reservation>>,
    pub refused: Set<OrderId>,
}

/// Ample stock, a little, none, and ample stock of a product that no carrier takes.
impl Default for Stock {
    fn default() -> Self {
        let totals = [(1, 1_000_000_000), (2, 10), (3, 0), (4, 1_000_000_000)];
        Self::of(totals.map(|(id, total)| (ProductId::from_u128(id), total)))
    }
}

impl Stock {
    pub fn of(totals: impl IntoIterator<Item = (ProductId, u64)>) -> Self {
        let products = totals.into_iter();
        Self {
            products: products.map(|(id, total)| (id, Product { total, reserved: 0 })).collect(),
            reservations: Map::default(),
            refused: Set::default(),
        }
    }
}

pub struct StockStore<T>(PhantomData<fn(T)>);

impl<T> Default for StockStore<T> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T: Tables<Stock>> Store for StockStore<T> {
    type Tx = T;
    type State = Shelf;
    type Batch = Shelves;

    fn load(
        &self,
        tx: &mut T,
        orders: &[OrderId],
        _touched: &[ProductId],
    ) -> Reply<'static, Shelves> {
        let stock = tx.data();
        let mut shelves = Shelves::default();
        shelves.products.clone_from(&stock.products);
        for order in orders {
            if let Some(reservation) = stock.reservations.get(order) {
                shelves.reservations.insert(*order, Reservation::clone(reservation));
            }
            if stock.refused.contains(order) {
                shelves.refused.insert(*order);
            }
        }
        reply(Ok(shelves))
    }

    async fn save(&self, tx: &mut T, shelves: &Shelves) -> Result<(), Failure> {
        if shelves.products.values().any(|product| product.reserved > product.total) {
            return Err(Failure::permanent("more is reserved than there is"));
        }
        let stock = tx.data();
        stock.products.clone_from(&shelves.products);
        for (order, held) in &shelves.reservations {
            stock.reservations.insert_mut(*order, Arc::new(held.clone()));
        }
        for order in &shelves.refused {
            stock.refused.insert_mut(*order);
        }
        Ok(())
    }
}
