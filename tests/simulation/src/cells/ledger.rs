//! Records the stock of all cells at each commit, and checks what concerns them together: no piece
//! is sold twice or lost, and no order is refused for want of pieces that lay elsewhere.

use super::allotment::CellId;
use crate::{chaos::lock, stores::inventory::Stock};
use events::{OrderId, ProductId};
use inventory::Product;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
    time::Duration,
};
use tokio::time::Instant;

/// No order is refused if for longer than this another cell had free what it lacked.
pub const STARVATION_MAX: Duration = Duration::from_secs(30);

/// Once all faults have stopped, no order waits for longer than this.
const WAIT_MAX: Duration = Duration::from_secs(90);

pub struct Ledger {
    began: Instant,
    global: BTreeMap<ProductId, u64>,
    books: Mutex<Books>,
}

#[derive(Default)]
struct Books {
    cells: BTreeMap<CellId, Stock>,
    /// The free pieces of each cell, after each change.
    past: BTreeMap<ProductId, Vec<(Duration, Free)>>,
    refused: BTreeMap<OrderId, (CellId, Duration)>,
    /// Since when each order waits that does.
    waits: BTreeMap<OrderId, Duration>,
    healed: Option<Duration>,
    broken: BTreeSet<String>,
    transfers: u64,
}

type Free = BTreeMap<CellId, u64>;

impl Ledger {
    /// Must be called in the run's own runtime, whose clock it reads.
    pub fn new(global: BTreeMap<ProductId, u64>, cells: BTreeMap<CellId, Stock>) -> Self {
        let mut books = Books { cells, ..Books::default() };
        global.keys().for_each(|id| books.note_free(*id, Duration::ZERO, None));
        Self { began: Instant::now(), global, books: Mutex::new(books) }
    }

    /// A cell has committed this.
    pub fn observe(&self, cell: CellId, stock: &Stock) {
        let at = self.began.elapsed();
        let mut books = lock(&self.books);
        if let Some(before) = books.cells.insert(cell, stock.clone()) {
            let refused = stock.refused.iter().filter(|order| !before.refused.contains(*order));
            books.refused.extend(refused.map(|order| (*order, (cell, at))));
            books.transfers += u64::from(given(&before) < given(stock));
            for order in stock.depot.waits.keys() {
                books.waits.entry(*order).or_insert(at);
            }
            let ended = |order: &&OrderId| !stock.depot.waits.contains_key(order);
            before.depot.waits.keys().filter(ended).for_each(|order| books.end_wait(*order, at));
        }
        for (id, global) in &self.global {
            books.check(*id, *global);
            let least = stock.depot.least.get(id).map(|least| (cell, *least));
            books.note_free(*id, at, least);
        }
    }

    pub fn broken(&self) -> Vec<String> {
        lock(&self.books).broken.iter().cloned().collect()
    }

    /// All faults have stopped.
    pub fn heal(&self) {
        lock(&self.books).healed = Some(self.began.elapsed());
    }

    /// Pieces that no cell has: given and not received.
    pub fn in_transit(&self) -> u64 {
        let books = lock(&self.books);
        self.global.iter().map(|(id, global)| global.saturating_sub(books.total(*id))).sum()
    }

    pub fn transfers(&self) -> (u64, u64) {
        let books = lock(&self.books);
        (books.transfers, books.cells.values().map(given).sum())
    }

    pub fn is_refused(&self, order: OrderId) -> bool {
        lock(&self.books).refused.contains_key(&order)
    }

    /// The order was refused, although of each product another cell had what it lacked.
    pub fn is_starved(&self, order: OrderId, wanted: &BTreeMap<ProductId, u64>) -> bool {
        let books = lock(&self.books);
        let Some((cell, at)) = books.refused.get(&order) else { return false };
        wanted.iter().all(|(id, wanted)| {
            let missing = wanted.saturating_sub(books.least(*cell, *id, *at, Duration::ZERO));
            let mut others = books.cells.keys().filter(|other| *other != cell);
            let had = |other: &CellId| books.least(*other, *id, *at, STARVATION_MAX);
            missing == 0 || others.any(|other| had(other) >= missing)
        })
    }
}

impl Books {
    fn products(&self, id: ProductId) -> impl Iterator<Item = Product> {
        self.cells.values().filter_map(move |stock| stock.products.get(&id).copied())
    }

    fn total(&self, id: ProductId) -> u64 {
        self.products(id).map(|product| product.total).sum()
    }

    fn check(&mut self, id: ProductId, global: u64) {
        let accounts = self.cells.values().filter_map(|stock| stock.depot.accounts.get(&id));
        let (given, received) = accounts.fold((0, 0), |(given, received), account| {
            (given + account.given, received + account.received)
        });
        let total = self.total(id);
        let reserved: u64 = self.products(id).map(|product| product.reserved).sum();
        if reserved > global {
            self.broken.insert(format!("{reserved} of {id} are reserved, and there are {global}"));
        }
        if received > given || total + given - received != global {
            self.broken.insert(format!(
                "of {global} of {id} the cells have {total}, gave {given}, received {received}"
            ));
        }
    }

    /// With the fewest that a cell had between two decisions of its transaction.
    fn note_free(&mut self, id: ProductId, at: Duration, least: Option<(CellId, u64)>) {
        let free = self.cells.iter().map(|(cell, stock)| {
            let product = stock.products.get(&id).copied().unwrap_or_default();
            (*cell, product.total.saturating_sub(product.reserved))
        });
        let free: Free = free.collect();
        let past = self.past.entry(id).or_default();
        if let Some((cell, least)) = least.filter(|(cell, least)| *least < free[cell]) {
            let mut between = free.clone();
            between.insert(cell, least);
            past.push((at, between));
        }
        if past.last().is_none_or(|(_, last)| *last != free) {
            past.push((at, free));
        }
    }

    fn end_wait(&mut self, order: OrderId, at: Duration) {
        let since = self.waits.remove(&order).unwrap_or(at);
        let calm =
            self.healed.map_or(Duration::ZERO, |healed| at.saturating_sub(since.max(healed)));
        if calm > WAIT_MAX {
            let seconds = calm.as_secs();
            self.broken.insert(format!("{order} waited for {seconds} s without any fault"));
        }
    }

    /// The fewest that were free in a cell, in the time before this.
    fn least(&self, cell: CellId, id: ProductId, at: Duration, span: Duration) -> u64 {
        let Some(past) = self.past.get(&id) else { return 0 };
        let since = at.saturating_sub(span);
        let first = past.partition_point(|(when, _)| *when < since).saturating_sub(1);
        let within = past[first..].iter().take_while(|(when, _)| *when <= at);
        within.map(|(_, free)| free[&cell]).min().unwrap_or(0)
    }
}

fn given(stock: &Stock) -> u64 {
    stock.depot.accounts.values().map(|account| account.given).sum()
}
