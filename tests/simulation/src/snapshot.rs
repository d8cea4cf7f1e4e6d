//! Builds the snapshot of the whole system that the invariants check.

use crate::{
    cells::store::BEYOND,
    disk::Disk,
    fleet::{Fleet, INVENTORY, ORDER, PAYMENT, SHIPPING},
};
use audit::Snapshot;
use events::SERVICES;
use memory_stores::snapshot::{read_broker, read_messages, read_rows};

impl Fleet {
    pub async fn is_quiet(&self) -> bool {
        let is_final = |view: &order::View| view.order.status().is_final();
        self.provider.is_quiet()
            && self.waiting_queues().all(|queue| self.broker.depth(queue) == 0)
            && self
                .orders
                .tables
                .look(|orders| orders.rows.values().all(|row| is_final(&row.view)))
                .await
            && self.orders.tables.unsent().await.is_empty()
            && self.payments.tables.unsent().await.is_empty()
            && self.stock.tables.unsent().await.is_empty()
            && self.shipments.tables.unsent().await.is_empty()
            && self.payments.tables.look(|rows| rows.open().next().is_none()).await
    }

    /// All but the state of customers and gremlins.
    pub async fn snapshot(&self) -> Snapshot {
        let mut snapshot =
            Snapshot { provider: Some(self.provider.books()), ..Snapshot::default() };
        let (orders, payments) =
            (self.orders.tables.data().await, self.payments.tables.data().await);
        let stock = self.stock.tables.data().await.goods;
        let shipments = self.shipments.tables.data().await;
        read_rows(&mut snapshot, &orders, &payments, &stock, &shipments);
        self.read(ORDER, &self.orders, &mut snapshot).await;
        self.read(PAYMENT, &self.payments, &mut snapshot).await;
        self.read(INVENTORY, &self.stock, &mut snapshot).await;
        self.read(SHIPPING, &self.shipments, &mut snapshot).await;
        read_broker(&mut snapshot, &self.broker, &self.queues);
        snapshot
    }

    /// The tables that every service has; of transfers between cells an audit knows nothing.
    async fn read<D>(&self, place: usize, disk: &Disk<D>, snapshot: &mut Snapshot)
    where
        D: Clone + Default + Send + Sync + 'static,
    {
        let is_saga =
            |event: &str| place != INVENTORY || self.depot.is_none() || !BEYOND.contains(&event);
        let handled = disk.tables.handled().await.into_iter();
        let handled = handled.filter(|row| is_saga(row.event));
        let unsent = disk.tables.unsent().await.into_iter();
        let unsent = unsent.filter(|event| is_saga(&event.event));
        read_messages(snapshot, SERVICES[place], handled, unsent);
    }
}
