//! Shipments and marks.

use crate::disk::Tx;
use database::Failure;
use events::{OrderId, ProductId};
use messaging::{Batch, Reply, Store, reply};
use shipping::Dispatch;
use std::collections::BTreeMap;

pub type Shipments = BTreeMap<OrderId, Dispatch>;

pub struct ShipmentStore;

impl Store for ShipmentStore {
    type Tx = Tx<Shipments>;
    type State = Dispatch;
    type Batch = Batch<Dispatch>;

    fn load(
        &self,
        tx: &mut Tx<Shipments>,
        orders: &[OrderId],
        _touched: &[ProductId],
    ) -> Reply<'static, Batch<Dispatch>> {
        let rows = tx.data();
        reply(Ok(Batch::new(orders.iter().filter_map(|id| Some((*id, rows.get(id)?.clone()))))))
    }

    async fn save(&self, tx: &mut Tx<Shipments>, batch: &Batch<Dispatch>) -> Result<(), Failure> {
        tx.data().extend(batch.changed().map(|(order, dispatch)| (order, dispatch.clone())));
        Ok(())
    }
}
