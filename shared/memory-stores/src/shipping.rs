//! Shipments and marks.

use crate::Tables;
use database::Failure;
use events::{OrderId, ProductId};
use messaging::{Batch, Reply, Store, reply};
use rpds::RedBlackTreeMapSync as Map;
use shipping::Dispatch;
use std::marker::PhantomData;

pub type Shipments = Map<OrderId, Dispatch>;

pub struct ShipmentStore<T>(PhantomData<fn(T)>);

impl<T> Default for ShipmentStore<T> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T: Tables<Shipments>> Store for ShipmentStore<T> {
    type Tx = T;
    type State = Dispatch;
    type Batch = Batch<Dispatch>;

    fn load(
        &self,
        tx: &mut T,
        orders: &[OrderId],
        _touched: &[ProductId],
    ) -> Reply<'static, Batch<Dispatch>> {
        let rows = tx.data();
        reply(Ok(Batch::new(orders.iter().filter_map(|id| Some((*id, rows.get(id)?.clone()))))))
    }

    async fn save(&self, tx: &mut T, batch: &Batch<Dispatch>) -> Result<(), Failure> {
        for (order, dispatch) in batch.changed() {
            tx.data().insert_mut(order, dispatch.clone());
        }
        Ok(())
    }
}
