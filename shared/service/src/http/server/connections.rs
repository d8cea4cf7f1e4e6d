//! Bounds the open connections: at the maximum, one that waits for its client is closed for a new
//! one, so that clients who only hold connections do not lock others out.

use axum::body::Body;
use hyper::body::{Body as HttpBody, Bytes, Frame, SizeHint};
use hyper_util::server::graceful::GracefulConnection;
use std::{
    collections::BTreeMap,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub struct Connections {
    max: usize,
    open: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    /// The oldest first.
    by_age: BTreeMap<u64, Arc<Entry>>,
    next: u64,
}

#[derive(Default)]
struct Entry {
    /// Requests whose answer is not yet sent whole.
    in_hand: AtomicUsize,
    served: AtomicUsize,
    push_out: Notify,
}

/// Counted until it is dropped.
pub struct Open {
    connections: Arc<Connections>,
    number: u64,
    entry: Arc<Entry>,
}

#[derive(Clone)]
pub struct Work(Arc<Entry>);

/// A request in hand.
pub struct Working(Arc<Entry>);

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
            open.by_age.remove(&number)?.push_out.notify_one();
        }
        let (number, entry) = (open.next, Arc::<Entry>::default());
        open.next += 1;
        open.by_age.insert(number, entry.clone());
        drop(open);
        Some(Open { connections: self.clone(), number, entry })
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    /// First one that has never sent a whole request, then one that is idle between two.
    fn first_that_waits(&self) -> Option<u64> {
        let waits = |entry: &Entry| entry.in_hand.load(Ordering::Relaxed) == 0;
        let mut waiting = self.by_age.iter().filter(|(_, entry)| waits(entry)).peekable();
        let oldest = *waiting.peek()?.0;
        let never_served = waiting.find(|(_, entry)| entry.served.load(Ordering::Relaxed) == 0);
        Some(never_served.map_or(oldest, |(number, _)| *number))
    }
}

impl Open {
    pub fn work(&self) -> Work {
        Work(self.entry.clone())
    }

    /// Until its client is done or it is pushed out; a service that stops ends it after the request
    /// in hand.
    pub async fn drive(self, connection: impl GracefulConnection, stop: &CancellationToken) {
        let mut connection = pin!(connection);
        let mut is_stopping = false;
        loop {
            tokio::select! {
                biased;
                _ = connection.as_mut() => return,
                () = self.pushed_out() => return,
                () = stop.cancelled(), if !is_stopping => {
                    is_stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }

    /// Never while a request is in hand: one may have come at the last moment.
    pub async fn pushed_out(&self) {
        loop {
            self.entry.push_out.notified().await;
            if self.entry.in_hand.load(Ordering::Relaxed) == 0 {
                return;
            }
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.connections.lock().by_age.remove(&self.number);
    }
}

impl Work {
    pub fn begin(&self) -> Working {
        self.0.in_hand.fetch_add(1, Ordering::Relaxed);
        self.0.served.fetch_add(1, Ordering::Relaxed);
        Working(self.0.clone())
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        self.0.in_hand.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An answer's body; its request is in hand as long as it lasts.
pub struct Busy {
    body: Body,
    _working: Working,
}

impl Busy {
    pub const fn new(body: Body, working: Working) -> Self {
        Self { body, _working: working }
    }
}

impl HttpBody for Busy {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
