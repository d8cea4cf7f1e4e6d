//! Places orders over HTTP: either a fixed number in flight (closed loop), or a fixed rate (open
//! loop). It records the answers, so that `verify` can compare the system with them.

mod board;
mod customer;
mod goods;
mod hops;
mod latency;
mod mix;
mod pace;
mod report;

use std::sync::Arc;
use std::time::{Duration, Instant};

use kit::api::Api;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use crate::usage::Meter;
use board::Board;
use customer::{Customer, Fate, News};
use pace::Pulse;

pub use goods::Goods;
pub use latency::{Latency, Spread};
pub use mix::Mix;
pub use pace::{Now, Series};
pub use report::Report;

#[derive(Clone, Debug)]
pub struct Load {
    /// The number of orders that count.
    pub orders: usize,
    /// The time in which counted orders are placed.
    pub length: Option<Duration>,
    /// Warm-up: orders that are placed before do not count.
    pub warm_up: Duration,
    /// The maximum number of orders that are not final.
    pub in_flight: usize,
    /// Orders a second; a delay is made up for, and an order's time counts from when it was due.
    pub rate: Option<u32>,
    pub mix: Mix,
    pub goods: Goods,
    /// The time for which the service may refuse an order before it counts as failed, and for which
    /// an order may run before it counts as unfinished.
    pub patience: Duration,
    pub meter: Meter,
    /// Ends the placing of orders.
    pub enough: CancellationToken,
    /// Ends all waiting: orders that are not final count as unfinished.
    pub over: CancellationToken,
}

/// So far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    pub placed: usize,
    pub finished: usize,
    pub errors: usize,
    pub now: Now,
}

impl Default for Load {
    fn default() -> Self {
        Self {
            orders: usize::MAX,
            length: None,
            warm_up: Duration::ZERO,
            in_flight: 64,
            rate: None,
            mix: Mix::default(),
            goods: Goods::default(),
            patience: Duration::from_secs(120),
            meter: Meter::default(),
            enough: CancellationToken::new(),
            over: CancellationToken::new(),
        }
    }
}

/// Runs the whole load. Several copies of the order service are used in turn.
pub async fn run(apis: &[Api], load: &Load, mut news: impl FnMut(Progress, Duration)) -> Report {
    let started = Instant::now();
    let begin = started + load.warm_up;
    let board = Arc::new(Board::new(apis.to_vec()));
    let (tell, mut told) = mpsc::unbounded_channel();
    let crowd = Crowd { apis: apis.to_vec(), board: Arc::clone(&board), load: load.clone(), tell };
    // Dropping it ends all of them.
    let mut tasks = JoinSet::new();
    tasks.spawn(board.watch());
    tasks.spawn(crowd.come(started, begin));
    let meter = load.meter.clone();
    let mut reading = JoinSet::new();
    reading.spawn(async move {
        sleep_until(begin.into()).await;
        meter.read()
    });
    let (mut report, mut pulse, mut so_far) =
        (Report::new(load.warm_up), Pulse::new(started), Progress::default());
    while let Some(one) = told.recv().await {
        match one {
            News::Placed => {
                so_far.placed += 1;
                report.placed_each_s.add(started.elapsed());
            }
            News::Done(fate) => {
                so_far.errors += fate.errors.len();
                if let Some(took) = fate.to_final {
                    so_far.finished += 1;
                    pulse.add(took);
                }
                report.add(*fate, started.elapsed());
            }
        }
        so_far.now = pulse.at(Instant::now());
        news(so_far, started.elapsed());
    }
    let usage = match reading.try_join_next() {
        Some(Ok(before)) => Some(load.meter.since(&before, report.ended)),
        Some(Err(_)) | None => None,
    };
    report.finish(begin, &load.goods, usage);
    report
}

/// All customers.
struct Crowd {
    apis: Vec<Api>,
    board: Arc<Board>,
    load: Load,
    tell: mpsc::UnboundedSender<News>,
}

impl Crowd {
    /// Places one order after the other, until the load is complete.
    async fn come(self, started: Instant, begin: Instant) {
        let load = &self.load;
        let pace = load.rate.map(|rate| Duration::from_secs(1) / rate.max(1));
        let slots = Arc::new(Semaphore::new(load.in_flight));
        let (mut orders, mut counted) = (JoinSet::new(), 0);
        for number in 0_usize.. {
            let turn = u32::try_from(number).unwrap_or(u32::MAX);
            let due = pace.map(|pace| started + pace.saturating_mul(turn));
            let slot = tokio::select! {
                biased;
                () = load.enough.cancelled() => break,
                slot = free(Arc::clone(&slots), due) => slot,
            };
            let since = due.unwrap_or_else(Instant::now);
            let counts = since >= begin;
            counted += usize::from(counts);
            let is_over = load.length.is_some_and(|length| since >= begin + length);
            if is_over || counted > load.orders {
                break;
            }
            let customer = Customer {
                api: self.apis[number % self.apis.len()].clone(),
                board: Arc::clone(&self.board),
                patience: load.patience,
                over: load.over.clone(),
                tell: self.tell.clone(),
            };
            let mut fate = Fate::of(load.mix.nth(number), since, counts);
            let mut draft = fate.scenario.draft();
            // Limited stock is for counted orders.
            if counts || matches!(load.goods, Goods::Spread(_)) {
                fate.is_limited = load.goods.put_into(&mut draft, number);
            }
            orders.spawn(async move {
                customer.order(fate, &draft).await;
                drop(slot);
            });
            while orders.try_join_next().is_some() {}
        }
        // Waits until every placed order has ended.
        orders.join_all().await;
    }
}

/// Waits until the order is due, and there is room for one more in flight.
async fn free(slots: Arc<Semaphore>, due: Option<Instant>) -> Option<OwnedSemaphorePermit> {
    if let Some(due) = due {
        sleep_until(due.into()).await;
    }
    slots.acquire_owned().await.ok()
}

#[cfg(test)]
mod tests;
