//! Bounds the open connections: at the maximum, one that waits for its client is closed for a new
//! one, so that clients who only hold connections do not lock others out.

use super::requests::Requests;
use hyper_util::server::graceful::GracefulConnection;
use std::{
    collections::BTreeMap,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use telemetry::metrics::REFUSED_CONNECTIONS;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

pub struct Connections {
    max: usize,
    open: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    /// The oldest first.
    by_age: BTreeMap<u64, Arc<Requests>>,
    next: u64,
}

/// Counted until it is dropped.
pub struct Open {
    connections: Arc<Connections>,
    number: u64,
    pub requests: Arc<Requests>,
}

/// For how long a connection with many requests may be idle, and may not read an answer.
#[derive(Clone, Copy)]
pub struct Patience {
    pub idle: Duration,
    pub stalled: Duration,
}

/// How a connection has been, as its patience goes.
struct Quiet {
    served: usize,
    since: Instant,
}

impl Connections {
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, open: Mutex::default() })
    }

    /// Opens one more; at the maximum, in place of one without a request in hand. `None` if all
    /// have one.
    pub fn open(self: &Arc<Self>) -> Option<Open> {
        let mut open = self.lock();
        if open.by_age.len() >= self.max {
            let number = open.first_that_waits()?;
            // No longer counted, and closed within a moment.
            open.by_age.remove(&number)?.push_out();
        }
        let (number, requests) = (open.next, Arc::<Requests>::default());
        open.next += 1;
        open.by_age.insert(number, requests.clone());
        drop(open);
        Some(Open { connections: self.clone(), number, requests })
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    /// First one that has never sent a whole request, then one that is idle between two.
    fn first_that_waits(&self) -> Option<u64> {
        let mut waiting = self.by_age.iter().filter(|(_, requests)| requests.is_idle()).peekable();
        let oldest = *waiting.peek()?.0;
        let never_served = waiting.find(|(_, requests)| requests.served() == 0);
        Some(never_served.map_or(oldest, |(number, _)| *number))
    }
}

impl Open {
    /// Until its client is done or it is pushed out; a service that stops ends it after the
    /// requests in hand. HTTP/1 has its own patience.
    pub async fn drive<C: GracefulConnection>(
        self,
        connection: C,
        stop: &CancellationToken,
        patience: Option<Patience>,
    ) -> Option<Result<(), C::Error>> {
        let mut connection = pin!(connection);
        let (mut is_closing, mut quiet) = (false, Quiet { served: 0, since: Instant::now() });
        loop {
            let looks = async {
                match patience {
                    Some(Patience { idle, stalled }) => sleep(idle.min(stalled) / 4).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                ended = connection.as_mut() => return Some(ended),
                () = self.pushed_out() => return None,
                () = stop.cancelled(), if !is_closing => {
                    is_closing = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = looks => {
                    let Some(patience) = patience else { continue };
                    if self.has_stalled(patience.stalled) {
                        REFUSED_CONNECTIONS.add(1, ["stalled"]);
                        return None;
                    }
                    if quiet.lasts(&self.requests) < patience.idle {
                        continue;
                    }
                    if is_closing {
                        return None;
                    }
                    is_closing = true;
                    quiet.since = Instant::now();
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }

    /// Never while a request is in hand: one may have come at the last moment. Unless the client
    /// cancels its requests.
    pub async fn pushed_out(&self) {
        loop {
            self.requests.asked_to_close().await;
            if self.requests.has_cancelled_too_many() {
                REFUSED_CONNECTIONS.add(1, ["resets"]);
                return;
            }
            if self.requests.is_idle() {
                return;
            }
        }
    }

    fn has_stalled(&self, stalled: Duration) -> bool {
        self.requests.unsent_since().is_some_and(|since| since.elapsed() >= stalled)
    }
}

impl Quiet {
    /// For how long no request has come and none was in hand.
    fn lasts(&mut self, requests: &Requests) -> Duration {
        let served = requests.served();
        if !requests.is_idle() || served != self.served {
            *self = Self { served, since: Instant::now() };
        }
        self.since.elapsed()
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.connections.lock().by_age.remove(&self.number);
    }
}
