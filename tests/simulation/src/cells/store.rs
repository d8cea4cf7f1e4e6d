//! Inventory's tables in a cell, and the job that decides without a message: on the orders that
//! wait, and on what to ask of other cells.

use super::{
    allotment::{Account, AllotmentAsked, AllotmentMoved, Cell, Share, TICK, Waiting},
    depot::Depot,
};
use crate::{
    disk::{Disk, Tx},
    faults::Mutant,
    fleet::INVENTORY,
    stores::inventory::Stock,
};
use chrono::{DateTime, TimeDelta, Utc};
use database::Failure;
use events::{Event, OrderCancelRequested, OrderId, PaymentApproved, ProductId, ShippingFailed};
use inventory::{Reservation, Shelf};
use messaging::{LoadedBatch, MessageStore, Outgoing, Reply, Store, reply};
use reaction::{Cause, Decision, Heard, On, Said};
use service::{Context, Service};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What inventory hears in a cell, beyond the saga.
pub const BEYOND: [&str; 3] =
    [OrderCancelRequested::NAME, AllotmentAsked::NAME, AllotmentMoved::NAME];

pub fn reactions(store: DepotStore) -> Service<DepotStore> {
    Service::new(inventory::NAME, store)
        .on::<PaymentApproved>()
        .on::<ShippingFailed>()
        .on::<OrderCancelRequested>()
        .on::<AllotmentAsked>()
        .on::<AllotmentMoved>()
}

/// Inventory's tables beside those that are shipped.
#[derive(Clone, Default)]
pub struct DepotTables {
    pub waits: BTreeMap<OrderId, Arc<Heard<PaymentApproved>>>,
    pub accounts: BTreeMap<ProductId, Account>,
    /// The fewest that were free between two decisions of the last transaction.
    pub least: BTreeMap<ProductId, u64>,
    cancelled: BTreeSet<OrderId>,
    ticked: Option<DateTime<Utc>>,
    /// Said to be given, and not yet given: only a mutant does that.
    owed: BTreeMap<ProductId, u64>,
}

#[derive(Clone, Copy)]
pub struct DepotStore {
    pub cell: Cell,
    pub mutant: Option<Mutant>,
}

/// The whole database: one transaction runs at a time.
pub struct Depots {
    stock: Stock,
    store: DepotStore,
}

impl Store for DepotStore {
    type Tx = Tx<Stock>;
    type State = Depot;
    type Batch = Depots;

    fn load(
        &self,
        tx: &mut Tx<Stock>,
        _orders: &[OrderId],
        _touched: &[ProductId],
    ) -> Reply<'static, Depots> {
        let mut stock = tx.data().clone();
        stock.depot.least.clear();
        reply(Ok(Depots { stock, store: *self }))
    }

    async fn save(&self, tx: &mut Tx<Stock>, depots: &Depots) -> Result<(), Failure> {
        if depots.stock.products.values().any(|product| product.reserved > product.total) {
            return Err(Failure::permanent("more is reserved than there is"));
        }
        tx.data().clone_from(&depots.stock);
        Ok(())
    }
}

impl LoadedBatch<Depot> for Depots {
    fn get(&self, order: OrderId, touched: &[ProductId]) -> Depot {
        self.stock.depot(order, touched, self.store.cell)
    }

    fn put(&mut self, order: OrderId, mut depot: Depot) {
        if self.store.mutant == Some(Mutant::ReducesAfterSaying) {
            for (id, account) in &depot.accounts {
                let before = self.stock.depot.accounts.get(id).map_or(0, |before| before.given);
                let given = account.given - before;
                depot.shelf.products.entry(*id).or_default().total += given;
                *self.stock.depot.owed.entry(*id).or_default() += given;
            }
        }
        self.stock.put(order, depot);
    }
}

impl Stock {
    fn depot(&self, order: OrderId, touched: &[ProductId], cell: Cell) -> Depot {
        let reservation = self.reservations.get(&order).map(|held| Reservation::clone(held));
        let held = reservation.iter().flat_map(|held| held.quantities.keys());
        let ids: BTreeSet<_> = held.chain(touched).copied().collect();
        let find = |id: &ProductId| Some((*id, *self.products.get(id)?));
        let products = ids.iter().filter_map(find).collect();
        let account = |id: &ProductId| Some((*id, self.depot.accounts.get(id)?.clone()));
        Depot {
            cell,
            accounts: ids.iter().filter_map(account).collect(),
            waiting: touched.iter().map(|id| (*id, self.waiting(*id))).collect(),
            waits: self.depot.waits.get(&order).cloned(),
            cancelled: self.depot.cancelled.contains(&order),
            shelf: Shelf { reservation, refused: self.refused.contains(&order), products },
        }
    }

    fn put(&mut self, order: OrderId, depot: Depot) {
        let Depot { shelf, waits, cancelled, accounts, .. } = depot;
        if let Some(held) = shelf.reservation {
            self.reservations.insert_mut(order, Arc::new(held));
        }
        if shelf.refused {
            self.refused.insert_mut(order);
        }
        let tables = &mut self.depot;
        for (id, product) in shelf.products {
            let least = tables.least.entry(id).or_insert(u64::MAX);
            *least = (*least).min(product.total.saturating_sub(product.reserved));
            self.goods.products.insert(id, product);
        }
        tables.accounts.extend(accounts);
        tables.cancelled.extend(cancelled.then_some(order));
        match waits {
            Some(event) => tables.waits.insert(order, event),
            None => tables.waits.remove(&order),
        };
    }

    fn waiting(&self, product_id: ProductId) -> Waiting {
        let (mut wanted, mut oldest) = (0, None);
        for (order, event) in &self.depot.waits {
            let lines = event.items.iter().filter(|item| item.product_id == product_id);
            let quantity: u64 = lines.map(|item| u64::from(item.quantity)).sum();
            if quantity > 0 {
                wanted += quantity;
                oldest = oldest.or(Some(*order));
            }
        }
        let product = self.products.get(&product_id).copied().unwrap_or_default();
        let missing = wanted.saturating_sub(product.total.saturating_sub(product.reserved));
        Waiting { missing, oldest }
    }

    /// Nothing would change.
    fn is_idle(&self) -> bool {
        let is_still = |account: &Account| account.sold == 0 && account.rate == 0;
        let DepotTables { waits, accounts, owed, .. } = &self.depot;
        waits.is_empty() && owed.is_empty() && accounts.values().all(is_still)
    }

    /// Decides on all that waits, the oldest order first, and then on what is still missing.
    fn tick(&mut self, now: DateTime<Utc>, store: DepotStore) -> Vec<(Said, Option<Cause>)> {
        let DepotStore { cell, mutant } = store;
        let mut said = Vec::new();
        for (order, event) in self.depot.waits.clone() {
            let touched = <Shelf as On<PaymentApproved>>::touches(&event);
            if let Decision::Change { state, says } = self.depot(order, &touched, cell).decide(now)
            {
                self.put(order, state);
                said.extend(says.into_iter().map(|says| (says, Some(event.as_cause()))));
            }
        }
        let ids: Vec<_> = self.products.keys().copied().collect();
        for id in ids {
            let account = self.depot.accounts.get(&id).cloned().unwrap_or_default();
            let share = Share { product: self.products[&id], account };
            let (mut share, asked) = share.tick(id, self.waiting(id), now, cell);
            let owed = self.depot.owed.remove(&id).unwrap_or_default();
            share.product.total = share.product.total.saturating_sub(owed);
            if mutant == Some(Mutant::TakesSilenceForNothing) {
                share.account.round.silence_is_nothing(now, cell);
            }
            self.products.insert(id, share.product);
            self.depot.accounts.insert(id, share.account);
            said.extend(asked.map(|asked| (Said::new(&asked), None)));
        }
        said
    }
}

/// The job, in one transaction. The pause between two ticks is the database's: with two replicas
/// one of them finds that the other was there.
pub async fn tick(context: Context<Disk<Stock>>, store: DepotStore) -> Result<(), Failure> {
    let disk = &context.message_store;
    if disk.look(Stock::is_idle).await? {
        return Ok(());
    }
    let mut tx = disk.begin().await?;
    let now = disk.chaos.database_now(INVENTORY);
    let stock = tx.data();
    let early = TICK - TimeDelta::milliseconds(50);
    if stock.depot.ticked.is_some_and(|last| now - last < early) {
        return Ok(());
    }
    stock.depot.ticked = Some(now);
    stock.depot.least.clear();
    let said = stock.tick(now, store).into_iter();
    let said: Vec<_> =
        said.map(|(said, cause)| Outgoing::new(&*context.env, said, cause.as_ref())).collect();
    if !said.is_empty() {
        disk.enqueue(&mut tx, &said).await?;
    }
    disk.commit(tx).await?;
    context.outbox.wake(said);
    Ok(())
}
