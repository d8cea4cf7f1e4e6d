//! Simulates the fleet from a seed: the four services' own code over a broker and databases in
//! memory, on virtual time, in one thread, with faults drawn from the seed. At the end all faults
//! stop, and every invariant must hold. The same seed gives the same run.

pub mod books;
mod cells;
mod chaos;
mod customers;
mod disk;
mod faults;
mod fleet;
mod gremlins;
mod provider;
mod snapshot;
mod stores;
mod trace;
mod wire;

use audit::{Quiet, Told, Violation, check};
use chaos::Chaos;
use customers::Customers;
use events::OrderId;
use fleet::Fleet;
use gremlins::Gremlins;
use std::{
    collections::BTreeSet,
    ops::AddAssign,
    sync::{Arc, atomic::Ordering},
};
use tokio::{runtime, task::JoinSet, time::sleep};

pub use cells::{Cells, Rule, run_cells};
pub use faults::Mutant;
pub use trace::{Line, Trace};

/// The result of a seed.
pub struct Outcome {
    pub seed: u64,
    pub orders: usize,
    /// Events handled, counted for each subscriber.
    pub events: u64,
    pub steps: u64,
    /// A hash of all events and their times.
    pub hash: u64,
    pub broken: Vec<Violation>,
    /// One, without sharing.
    pub cells: u16,
    pub sales: Sales,
    /// Empty, unless the trace was kept.
    pub trace: Vec<Line>,
}

/// What became of orders that were short of stock, and of the stock, in several cells.
#[derive(Clone, Copy, Default)]
pub struct Sales {
    /// Out of stock.
    pub refused: usize,
    /// Refused, although for longer than the bound another cell had free what they lacked.
    pub starved: usize,
    /// Transactions that gave pieces to another cell, and those pieces.
    pub transfers: u64,
    pub pieces: u64,
}

impl AddAssign for Sales {
    fn add_assign(&mut self, more: Self) {
        self.refused += more.refused;
        self.starved += more.starved;
        self.transfers += more.transfers;
        self.pieces += more.pieces;
    }
}

impl Outcome {
    /// The steps of the orders that break an invariant; all steps, where no such order is known.
    pub fn story(&self) -> Vec<&Line> {
        let orders: BTreeSet<OrderId> =
            self.broken.iter().filter_map(|found| found.order_id).collect();
        let is_told = |line: &&Line| orders.is_empty() || line.concerns(&orders);
        self.trace.iter().filter(is_told).collect()
    }
}

/// One run of one system, from the first order to the last invariant.
pub fn run(seed: u64, mutant: Option<Mutant>, trace: Trace) -> Outcome {
    on_virtual_time(live(seed, mutant, trace))
}

fn on_virtual_time<T>(work: impl Future<Output = T>) -> T {
    let runtime = runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime without I/O").block_on(work)
}

async fn live(seed: u64, mutant: Option<Mutant>, trace: Trace) -> Outcome {
    let chaos = Arc::new(Chaos::new(seed, mutant, trace));
    let fleet = Fleet::new(&chaos);
    let mut services = JoinSet::new();
    for place in fleet.places() {
        services.spawn(fleet.clone().run_for_ever(place));
    }
    let gremlins = Arc::new(Gremlins::default());
    let mut at_work = JoinSet::new();
    at_work.spawn({
        let (gremlins, fleet) = (gremlins.clone(), fleet.clone());
        async move { gremlins.run(&fleet).await }
    });
    let customers = Arc::new(Customers::of(customers::PRODUCTS));
    let span = chaos.within(10_000..90_000);
    for number in 0..chaos.among(&[2, 10, 30]) {
        at_work.spawn(customers.clone().visit(fleet.clone(), number, span));
    }
    sleep(span + chaos.within(0..30_000)).await;
    chaos.heal();
    let calmed = async {
        while at_work.join_next().await.is_some() {}
        gremlins.calm(&fleet).await
    };
    let mut broken = Vec::new();
    tokio::select! {
        biased;
        ended = services.join_next() => broken.push(plainly(0, format!("{ended:?}"))),
        calm = calmed => if !calm {
            broken.push(plainly(1, "it does not come to rest within an hour".into()));
        }
    }
    let (orders, found) = judge(&fleet, &gremlins, customers.told()).await;
    broken.extend(found);
    broken.extend(customers.lies().into_iter().map(|lie| plainly(1, lie)));
    let mut trace = chaos.trace();
    Outcome {
        seed,
        orders,
        events: chaos.handled.load(Ordering::Relaxed),
        steps: trace.steps(),
        hash: trace.hash(),
        broken,
        cells: 1,
        sales: Sales::default(),
        trace: trace.take_lines(),
    }
}

/// The number of orders, and the violations of a system at rest.
async fn judge(fleet: &Fleet, gremlins: &Gremlins, told: Told) -> (usize, Vec<Violation>) {
    let mut snapshot = fleet.snapshot().await;
    snapshot.told = told;
    snapshot.poisoned = Some(gremlins.poisoned());
    let mut broken = check(&snapshot, Quiet::Yes);
    broken.extend(fleet.chaos.early().into_iter().map(|order| Violation {
        order_id: Some(order),
        ..plainly(1, "it is cancelled for its age before it has it".into())
    }));
    broken.extend(gremlins.innocent().into_iter().map(|letter| plainly(5, letter)));
    broken.extend(gremlins.unrefused().into_iter().map(|forged| plainly(6, forged)));
    (snapshot.orders.len(), broken)
}

const fn plainly(invariant: u8, why: String) -> Violation {
    Violation { invariant, order_id: None, why }
}
