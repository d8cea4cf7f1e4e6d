//! A closed loop of orders over HTTP: so many are in flight, and each that ends makes room for the
//! next. It remembers what it was told, so that `verify` can hold the system to it.

mod board;
mod mix;
mod report;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use events::OrderId;
use messaging::{RealWorld, World};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::api::{Api, ApiError, Brief};
use crate::scenario::Scenario;
use board::Board;

pub use mix::Mix;
pub use report::Report;

const BETWEEN_TRIES: Duration = Duration::from_millis(100);

#[derive(Clone, Debug)]
pub struct Load {
    pub orders: usize,
    pub in_flight: usize,
    pub mix: Mix,
    /// For how long the service may refuse an order before it counts as failed, and for how long an
    /// order may go on before it counts as unfinished.
    pub patience: Duration,
    /// The least time between two orders; after a halt what is behind is made up for.
    pub pace: Duration,
    /// Ends the placing.
    pub enough: CancellationToken,
    /// Ends all waiting: what is not final then counts as unfinished.
    pub over: CancellationToken,
}

/// What has become of one order.
#[derive(Debug)]
struct Fate {
    scenario: Scenario,
    order: Option<OrderId>,
    /// Since the load began.
    placed_at: Duration,
    /// Of the POST that was answered 201.
    post: Duration,
    to_final: Option<Duration>,
    status: Option<String>,
    /// Its cancel was answered 202.
    cancelled: bool,
    /// A request to cancel it came to nothing, or so it seemed: it may have been taken.
    cancel_failed: bool,
    errors: Vec<String>,
}

enum News {
    Placed,
    Done(Box<Fate>),
}

/// So far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    pub placed: usize,
    pub finished: usize,
    pub errors: usize,
}

/// Runs the whole load.
pub async fn run(api: &Api, load: &Load, mut news: impl FnMut(Progress, Duration)) -> Report {
    let started = Instant::now();
    let board = Arc::new(Board::new(api.clone()));
    let watching = tokio::spawn(Arc::clone(&board).watch());
    let next = Arc::new(AtomicUsize::new(0));
    let (tell, mut told) = mpsc::unbounded_channel();
    let mut workers = JoinSet::new();
    for _ in 0..load.in_flight.min(load.orders) {
        let (api, board, load) = (api.clone(), Arc::clone(&board), load.clone());
        let worker = Worker { api, board, load, started, tell: tell.clone() };
        workers.spawn(worker.run(Arc::clone(&next)));
    }
    drop(tell);
    let mut report = Report::default();
    let mut placed = 0;
    while let Some(one) = told.recv().await {
        match one {
            News::Placed => placed += 1,
            News::Done(fate) => report.add(*fate),
        }
        news(Progress { placed, ..report.progress() }, started.elapsed());
    }
    watching.abort();
    report.finish(started.elapsed());
    report
}

struct Worker {
    api: Api,
    board: Arc<Board>,
    load: Load,
    started: Instant,
    tell: mpsc::UnboundedSender<News>,
}

impl Worker {
    /// One order after the other, for as long as there are some to be placed.
    async fn run(self, next: Arc<AtomicUsize>) {
        let Load { orders, mix, pace, enough, .. } = &self.load;
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= *orders {
                return;
            }
            let due = self.started + pace.saturating_mul(u32::try_from(number).unwrap_or(u32::MAX));
            tokio::select! {
                biased;
                () = enough.cancelled() => return,
                () = sleep_until(due.into()) => {}
            }
            let fate = self.order(mix.nth(number)).await;
            if self.tell.send(News::Done(Box::new(fate))).is_err() {
                return;
            }
        }
    }

    /// One order, from its first POST to its end.
    async fn order(&self, scenario: Scenario) -> Fate {
        let mut fate = Fate {
            scenario,
            order: None,
            placed_at: Duration::ZERO,
            post: Duration::ZERO,
            to_final: None,
            status: None,
            cancelled: false,
            cancel_failed: false,
            errors: Vec::new(),
        };
        let Some((order, asked)) = self.place(&mut fate).await else { return fate };
        // Who is not listening any more has been told enough.
        let _ = self.tell.send(News::Placed);
        let ends = self.patiently(self.board.final_status(order));
        let cancels = self.cancel(order, &mut fate);
        let (ended, ()) = tokio::join!(ends, cancels);
        match ended {
            Some(status) => {
                fate.to_final = Some(asked.elapsed());
                fate.status = Some(status);
            }
            None => self.board.forget(order),
        }
        fate
    }

    async fn patiently<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            done = work => Some(done),
            () = self.load.over.cancelled() => None,
            () = sleep(self.load.patience) => None,
        }
    }

    fn gives_up(&self, first: Instant) -> bool {
        self.load.over.is_cancelled() || first.elapsed() >= self.load.patience
    }

    /// Asks until the service takes it, under one key, so that it is placed once.
    async fn place(&self, fate: &mut Fate) -> Option<(OrderId, Instant)> {
        let draft = fate.scenario.draft();
        let key = RealWorld.new_id().to_string();
        let first = Instant::now();
        loop {
            let asked = Instant::now();
            let placed = self.api.place(&draft, Some(&key)).await;
            let order = placed.and_then(|answer| answer.read::<Brief>());
            match order {
                Ok(order) => {
                    fate.post = asked.elapsed();
                    fate.placed_at = self.started.elapsed();
                    fate.order = Some(order.order_id);
                    return Some((order.order_id, asked));
                }
                Err(error) => {
                    let is_final =
                        matches!(&error, ApiError::Refused(why) if is_verdict(why.status));
                    fate.errors.push(error.to_string());
                    if is_final || self.gives_up(first) {
                        return None;
                    }
                    sleep(BETWEEN_TRIES).await;
                }
            }
        }
    }

    /// Until there is an answer; too late is one, too.
    async fn cancel(&self, order: OrderId, fate: &mut Fate) {
        let Some(wait) = fate.scenario.cancel_after() else { return };
        sleep(wait).await;
        let first = Instant::now();
        while !self.gives_up(first) {
            match self.api.cancel(order).await {
                Ok(_) => {
                    fate.cancelled = true;
                    return;
                }
                Err(ApiError::Refused(why)) if why.status == 409 => return,
                Err(error) => {
                    fate.cancel_failed = true;
                    fate.errors.push(error.to_string());
                }
            }
            sleep(BETWEEN_TRIES).await;
        }
    }
}

/// Asking again gives the same answer.
fn is_verdict(status: u16) -> bool {
    (400..500).contains(&status) && ![408, 409, 429].contains(&status)
}
