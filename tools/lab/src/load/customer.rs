//! One order, from the moment at which it was due to its end, and what became of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use events::OrderId;
use kit::api::{Api, ApiError, Brief, Draft};
use kit::scenario::Scenario;
use messaging::{RealWorld, World};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::board::Board;

const BETWEEN_TRIES: Duration = Duration::from_millis(100);

/// What has become of one order.
#[derive(Debug)]
pub struct Fate {
    pub scenario: Scenario,
    /// Its product may be sold out.
    pub is_limited: bool,
    /// When it was to be placed: what keeps it waiting from then on is time that it took.
    pub since: Instant,
    /// It was not placed to warm up.
    pub counts: bool,
    pub order: Option<OrderId>,
    /// To the answer 201.
    pub post: Duration,
    pub to_final: Option<Duration>,
    pub status: Option<String>,
    /// Its cancel was answered 202.
    pub cancelled: bool,
    /// A request to cancel it came to nothing, or so it seemed: it may have been taken.
    pub cancel_failed: bool,
    pub errors: Vec<String>,
}

pub enum News {
    Placed,
    Done(Box<Fate>),
}

impl Fate {
    pub const fn of(scenario: Scenario, since: Instant, counts: bool) -> Self {
        Self {
            scenario,
            is_limited: false,
            since,
            counts,
            order: None,
            post: Duration::ZERO,
            to_final: None,
            status: None,
            cancelled: false,
            cancel_failed: false,
            errors: Vec::new(),
        }
    }
}

pub struct Customer {
    pub api: Api,
    pub board: Arc<Board>,
    pub patience: Duration,
    pub over: CancellationToken,
    pub tell: mpsc::UnboundedSender<News>,
}

impl Customer {
    pub async fn order(self, mut fate: Fate, draft: &Draft) {
        if let Some(order) = self.place(&mut fate, draft).await {
            // Who is not listening any more has been told enough.
            let _ = self.tell.send(News::Placed);
            let ends = self.patiently(self.board.final_status(order));
            let cancels = self.cancel(order, &mut fate);
            let (ended, ()) = tokio::join!(ends, cancels);
            match ended {
                Some(status) => {
                    fate.to_final = Some(fate.since.elapsed());
                    fate.status = Some(status);
                }
                None => self.board.forget(order),
            }
        }
        let _ = self.tell.send(News::Done(Box::new(fate)));
    }

    async fn patiently<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            done = work => Some(done),
            () = self.over.cancelled() => None,
            () = sleep(self.patience) => None,
        }
    }

    fn gives_up(&self, first: Instant) -> bool {
        self.over.is_cancelled() || first.elapsed() >= self.patience
    }

    /// Asks until the service takes it, under one key, so that it is placed once.
    async fn place(&self, fate: &mut Fate, draft: &Draft) -> Option<OrderId> {
        let key = RealWorld.new_id().to_string();
        let first = Instant::now();
        loop {
            let placed = self.api.place(draft, Some(&key)).await;
            match placed.and_then(|answer| answer.read::<Brief>()) {
                Ok(order) => {
                    fate.post = fate.since.elapsed();
                    fate.order = Some(order.order_id);
                    return fate.order;
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
