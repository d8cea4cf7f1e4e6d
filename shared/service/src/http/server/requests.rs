//! Follows the requests of a connection until their answers are sent.

use axum::body::Body;
use hyper::body::{Body as HttpBody, Bytes, Frame, SizeHint};
use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};
use tokio::{sync::Notify, time::Instant};

/// Requests that a client may cancel; each that it lets finish allows one more.
const CANCELS_MAX: i64 = 100;
/// Sent as one piece over HTTP/2, so that a slow client can be told from one that reads nothing.
const PIECE: usize = 16 * 1024;

/// Of one connection.
#[derive(Default)]
pub struct Requests {
    /// Requests whose answer is not yet sent whole.
    in_hand: AtomicUsize,
    served: AtomicUsize,
    cancelled: AtomicI64,
    /// The connection is to be closed.
    close: Notify,
    unsent: Mutex<Pieces>,
}

/// The pieces of answers that are on their way, the oldest first.
#[derive(Default)]
struct Pieces {
    since: BTreeMap<u64, Instant>,
    next: u64,
}

/// A request in hand.
pub struct Working {
    requests: Arc<Requests>,
    is_whole: AtomicBool,
}

impl Requests {
    pub fn begin(self: &Arc<Self>) -> Arc<Working> {
        self.in_hand.fetch_add(1, Ordering::Relaxed);
        self.served.fetch_add(1, Ordering::Relaxed);
        Arc::new(Working { requests: self.clone(), is_whole: AtomicBool::new(false) })
    }

    pub fn is_idle(&self) -> bool {
        self.in_hand.load(Ordering::Relaxed) == 0
    }

    pub fn served(&self) -> usize {
        self.served.load(Ordering::Relaxed)
    }

    pub fn has_cancelled_too_many(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed) > CANCELS_MAX
    }

    /// Since when the client has not taken what it was sent.
    pub fn unsent_since(&self) -> Option<Instant> {
        self.pieces().since.values().next().copied()
    }

    pub fn push_out(&self) {
        self.close.notify_one();
    }

    pub async fn asked_to_close(&self) {
        self.close.notified().await;
    }

    fn pieces(&self) -> MutexGuard<'_, Pieces> {
        self.unsent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        let Self { requests, is_whole } = self;
        requests.in_hand.fetch_sub(1, Ordering::Relaxed);
        if *is_whole.get_mut() {
            let fewer = |cancelled: i64| (cancelled > 0).then(|| cancelled - 1);
            let _ = requests.cancelled.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer);
        } else {
            requests.cancelled.fetch_add(1, Ordering::Relaxed);
            if requests.has_cancelled_too_many() {
                requests.close.notify_one();
            }
        }
    }
}

/// An answer's body; its request is in hand as long as it lasts.
pub struct Answer {
    body: Body,
    working: Arc<Working>,
    /// What remains of its last part, where it is sent in pieces.
    rest: Option<Bytes>,
}

impl Answer {
    pub fn new(body: Body, working: Arc<Working>, in_pieces: bool) -> Self {
        let answer = Self { body, working, rest: in_pieces.then(Bytes::new) };
        answer.note_end();
        answer
    }

    fn note_end(&self) {
        if self.is_end_stream() {
            self.working.is_whole.store(true, Ordering::Relaxed);
        }
    }

    fn part(&mut self, frame: Frame<Bytes>) -> Frame<Bytes> {
        match (&mut self.rest, frame.into_data()) {
            (Some(rest), Ok(data)) => {
                *rest = data;
                Frame::data(piece(rest, &self.working))
            }
            (None, Ok(data)) => Frame::data(data),
            (_, Err(frame)) => frame,
        }
    }
}

fn piece(rest: &mut Bytes, working: &Arc<Working>) -> Bytes {
    let bytes = rest.split_to(rest.len().min(PIECE));
    let mut pieces = working.requests.pieces();
    let number = pieces.next;
    pieces.next += 1;
    pieces.since.insert(number, Instant::now());
    drop(pieces);
    Bytes::from_owner(Piece { bytes, number, working: working.clone() })
}

/// Dropped when it is written.
struct Piece {
    bytes: Bytes,
    number: u64,
    working: Arc<Working>,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.working.requests.pieces().since.remove(&self.number);
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        let frame = match &mut this.rest {
            Some(rest) if !rest.is_empty() => Some(Ok(Frame::data(piece(rest, &this.working)))),
            _ => match ready!(Pin::new(&mut this.body).poll_frame(context)) {
                Some(Ok(frame)) => Some(Ok(this.part(frame))),
                Some(Err(why)) => return Poll::Ready(Some(Err(why))),
                None => None,
            },
        };
        if frame.is_none() {
            this.working.is_whole.store(true, Ordering::Relaxed);
        }
        this.note_end();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.rest.as_ref().is_none_or(Bytes::is_empty) && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.rest {
            Some(rest) if !rest.is_empty() => SizeHint::default(),
            _ => self.body.size_hint(),
        }
    }
}
