//! Places one order and follows it to its end, from the moment at which it was due.

use std::sync::Arc;
use std::time::{Duration, Instant};

use events::OrderId;
use kit::api::{Api, ApiError, Brief, Draft};
use kit::scenario::Scenario;
use messaging::{Env, SystemEnv};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::board::Board;

const BETWEEN_TRIES: Duration = Duration::from_millis(100);

/// The result of one order.
#[derive(Debug)]
pub struct Fate {
    pub scenario: Scenario,
    /// Its product may be sold out.
    pub is_limited: bool,
    /// When it was due: any delay from then on counts.
    pub since: Instant,
    /// False for a warm-up order.
    pub counts: bool,
    pub order: Option<OrderId>,
    /// The time to the answer 201.
    pub post: Duration,
    pub to_final: Option<Duration>,
    pub status: Option<String>,
    /// Its cancel was answered 202.
    pub cancelled: bool,
    /// Its cancel failed, or so it seemed: it may have been accepted.
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
            // The receiver may be gone.
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

    /// Repeats the request until the service accepts it, under one key, so that it is placed once.
    async fn place(&self, fate: &mut Fate, draft: &Draft) -> Option<OrderId> {
        let key = SystemEnv.new_id().to_string();
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

    /// Repeats the cancel until it is answered; "too late" is an answer, too.
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

/// Whether a repeated request would give the same answer.
fn is_verdict(status: u16) -> bool {
    (400..500).contains(&status) && ![408, 409, 429].contains(&status)
}
