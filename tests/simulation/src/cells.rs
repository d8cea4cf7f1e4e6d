//! Runs several cells, each a whole system with faults of its own, whose inventories share the
//! stock by allotments; in the end each cell is checked, and all of them together.

pub mod allotment;
pub mod depot;
mod directory;
mod ledger;
mod link;
pub mod store;

use crate::{
    Outcome, Sales, Trace,
    chaos::Chaos,
    customers::{Customers, customer},
    disk::Disk,
    faults::Mutant,
    fleet::{Fleet, INVENTORY},
    gremlins::Gremlins,
    judge, on_virtual_time, plainly,
    stores::inventory::Stock,
};
use allotment::{Cell, CellId};
use audit::Violation;
use directory::Directory;
use events::{Event, OrderCancelRequested, OrderId, ProductId};
use ledger::Ledger;
use link::Link;
use messaging::MessageStore;
use order::Status;
use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use store::DepotStore;
use tokio::{task::JoinSet, time::sleep};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Cells ask each other for pieces, and give them.
    Allotment,
    /// Each cell has an equal part for ever.
    EqualSplit,
}

#[derive(Clone, Copy, Debug)]
pub struct Cells {
    pub count: u16,
    pub rule: Rule,
}

/// Mostly for the product of which there is little.
const PRODUCTS: &[u128] = &[2, 2, 2, 2, 2, 1, 3, 4, 9];

/// What all cells have in common.
struct World {
    cells: Vec<Local>,
    links: Vec<(Arc<Fleet>, String)>,
    ledger: Arc<Ledger>,
    global: BTreeMap<ProductId, u64>,
}

#[derive(Clone)]
struct Local {
    fleet: Arc<Fleet>,
    gremlins: Arc<Gremlins>,
    customers: Arc<Customers>,
}

/// One run, from the first order to the last invariant.
pub fn run_cells(seed: u64, cells: Cells, mutant: Option<Mutant>, trace: &Trace) -> Outcome {
    on_virtual_time(live(seed, cells, mutant, trace))
}

async fn live(seed: u64, cells: Cells, mutant: Option<Mutant>, trace: &Trace) -> Outcome {
    let (mut services, mut at_work) = (JoinSet::new(), JoinSet::new());
    let world = World::new(seed, cells, mutant, trace, &mut services).await;
    let chaos = world.cells[0].fleet.chaos.clone();
    for local in &world.cells {
        for place in local.fleet.places() {
            services.spawn(local.fleet.clone().run_for_ever(place));
        }
        let Local { gremlins, fleet, .. } = local.clone();
        at_work.spawn(async move { gremlins.run(&fleet).await });
    }
    let parts: Vec<_> = world.cells.iter().map(|_| chaos.among(&[1, 1, 4])).collect();
    let directory = Directory::of(&parts);
    let span = chaos.within(10_000..90_000);
    for number in 0..chaos.among(&[6, 20, 60]) {
        let cell = directory.cell_of(customer(number));
        let Local { fleet, customers, .. } = world.cells[usize::from(cell)].clone();
        at_work.spawn(customers.visit(fleet, number, span));
    }
    sleep(span + chaos.within(0..30_000)).await;
    world.cells.iter().for_each(|local| local.fleet.chaos.heal());
    world.ledger.heal();
    let calmed = async {
        while at_work.join_next().await.is_some() {}
        world.calm().await
    };
    let mut broken = Vec::new();
    tokio::select! {
        biased;
        ended = services.join_next() => broken.push(plainly(0, format!("{ended:?}"))),
        calm = calmed => if !calm {
            broken.push(plainly(1, "it does not come to rest within an hour".into()));
        }
    }
    world.outcome(seed, broken).await
}

impl World {
    async fn new(
        seed: u64,
        Cells { count, rule }: Cells,
        mutant: Option<Mutant>,
        trace: &Trace,
        services: &mut JoinSet<()>,
    ) -> Self {
        let chaos = (0..count).map(|id| {
            let seed = seed.wrapping_add(u64::from(id) << 40);
            Arc::new(Chaos::new(seed, mutant, trace.of_cell(id + 1)))
        });
        let chaos: Vec<_> = chaos.collect();
        let scarce = chaos[0].among(&[4, 20, 60]);
        // One cell may begin with all of it.
        let first = chaos[0].among(&[None, Some(chaos[0].below(count.into()))]);
        let global = [(1, 1_000), (2, scarce), (3, 0), (4, 1_000)];
        let global = global.map(|(id, total)| (ProductId::from_u128(id), total));
        let part = |total: u64, id: CellId| match first {
            Some(first) if rule == Rule::Allotment => total * u64::from(first == usize::from(id)),
            _ => total / u64::from(count) + u64::from(u64::from(id) < total % u64::from(count)),
        };
        let stocks = (0..count)
            .map(|id| (id, Stock::of(global.map(|(product, total)| (product, part(total, id))))));
        let stocks: BTreeMap<_, _> = stocks.collect();
        let ledger = Arc::new(Ledger::new(global.into(), stocks.clone()));
        let mut cells = Vec::new();
        for ((id, stock), chaos) in stocks.into_iter().zip(&chaos) {
            let depot = DepotStore { cell: Cell { id, cells: count }, mutant };
            let depot = (rule == Rule::Allotment).then_some(depot);
            let disk = filled(chaos, stock, id, ledger.clone()).await;
            cells.push(Local {
                fleet: Fleet::with(chaos, disk, depot),
                gremlins: Arc::default(),
                customers: Arc::new(Customers::of(PRODUCTS)),
            });
        }
        let mut world = Self { cells, links: Vec::new(), ledger, global: global.into() };
        if rule == Rule::Allotment {
            world.join(services).await;
        }
        world
    }

    /// Links each cell to each other.
    async fn join(&mut self, services: &mut JoinSet<()>) {
        let delay_ms = self.cells[0].fleet.chaos.among(&[100, 1000, 5000]);
        let cells = || (0..).zip(self.cells.iter());
        for (from_id, from) in cells() {
            for (to_id, to) in cells().filter(|(to_id, _)| *to_id != from_id) {
                let (from, to) = (from.fleet.clone(), to.fleet.clone());
                let link = Link { from: from.clone(), to, to_id, delay_ms };
                link.declare().await.expect("no fault has begun");
                self.links.push((from, link.queue()));
                services.spawn(link.run());
            }
        }
    }

    /// Waits until all cells are idle; false when that does not happen.
    async fn calm(&self) -> bool {
        for _ in 0..3600 {
            if self.is_quiet().await {
                return true;
            }
            sleep(Duration::from_secs(1)).await;
        }
        false
    }

    async fn is_quiet(&self) -> bool {
        let replayed = |local: &Local| local.gremlins.replay(&local.fleet);
        if self.cells.iter().map(replayed).sum::<usize>() > 0 {
            return false;
        }
        if self.links.iter().any(|(from, queue)| from.broker.depth(queue) > 0) {
            return false;
        }
        for local in &self.cells {
            if !local.fleet.is_quiet().await {
                return false;
            }
        }
        true
    }

    async fn outcome(&self, seed: u64, mut broken: Vec<Violation>) -> Outcome {
        let (mut orders, mut sales) = (0, Sales::default());
        (sales.transfers, sales.pieces) = self.ledger.transfers();
        let mut confirmed = BTreeMap::new();
        for local in &self.cells {
            let Local { fleet, gremlins, customers } = local;
            let (count, found) = judge(fleet, gremlins, customers.told()).await;
            orders += count;
            broken.extend(found);
            broken.extend(customers.lies().into_iter().map(|lie| plainly(1, lie)));
            for row in fleet.orders.tables.data().await.rows.values() {
                self.judge_order(&row.view, &mut sales, &mut confirmed, &mut broken);
            }
        }
        for (id, sold) in confirmed {
            if sold > self.global.get(&id).copied().unwrap_or(0) {
                broken.push(plainly(3, format!("oversold: {sold} of {id} are confirmed")));
            }
        }
        broken.extend(self.ledger.broken().into_iter().map(|why| plainly(3, why)));
        let in_transit = self.ledger.in_transit();
        if in_transit > 0 {
            broken.push(plainly(3, format!("{in_transit} pieces are given and never received")));
        }
        let chaos = || self.cells.iter().map(|local| &local.fleet.chaos);
        let mut lines: Vec<_> = chaos().flat_map(|chaos| chaos.trace().take_lines()).collect();
        lines.sort_by_key(|line| line.at);
        Outcome {
            seed,
            orders,
            events: chaos().map(|chaos| chaos.handled.load(Ordering::Relaxed)).sum(),
            steps: chaos().map(|chaos| chaos.trace().steps()).sum(),
            hash: chaos().fold(0, |hash, chaos| hash.rotate_left(1) ^ chaos.trace().hash()),
            broken,
            cells: self.cells.len() as u16,
            sales,
            trace: lines,
        }
    }

    fn judge_order(
        &self,
        view: &order::View,
        sales: &mut Sales,
        confirmed: &mut BTreeMap<ProductId, u64>,
        broken: &mut Vec<Violation>,
    ) {
        let mut wanted = BTreeMap::<ProductId, u64>::new();
        for item in &view.items {
            *wanted.entry(item.product_id).or_default() += u64::from(item.quantity);
        }
        if view.order.status() == Status::Confirmed {
            wanted.iter().for_each(|(id, quantity)| *confirmed.entry(*id).or_default() += quantity);
        }
        let is_cancel = |event: &str| event == OrderCancelRequested::NAME;
        let is_cancelled = view.order.timeline().iter().any(|fact| is_cancel(fact.event));
        let order: OrderId = view.id;
        if self.ledger.is_refused(order) && !is_cancelled {
            sales.refused += 1;
            if self.ledger.is_starved(order, &wanted) {
                sales.starved += 1;
                if self.cells[0].fleet.depot.is_some() {
                    let why =
                        "refused for want of pieces that another cell had all the time".into();
                    broken.push(Violation { order_id: Some(order), ..plainly(3, why) });
                }
            }
        }
    }
}

/// Inventory's database with this stock, seen by the ledger.
async fn filled(chaos: &Arc<Chaos>, stock: Stock, id: CellId, ledger: Arc<Ledger>) -> Disk<Stock> {
    let mut disk = Disk::new(chaos, INVENTORY);
    let mut tx = disk.tables.begin().await.expect("no fault has begun");
    *tx.data() = stock;
    disk.tables.commit(tx).await.expect("no fault has begun");
    disk.observer = Some(Arc::new(move |stock: &Stock| ledger.observe(id, stock)));
    disk
}
