//! Broadcasts pieces of text to listeners: each is written once for all, and kept for slow
//! listeners up to a bound in bytes. Without listeners it costs nothing.

use axum::body::Bytes;
use serde::Serialize;
use std::{
    collections::VecDeque,
    fmt::Write,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::watch;

/// The default.
const KEPT_BYTES: usize = 4 << 20;
/// Per piece, besides its text.
const OVERHEAD: usize = 128;
/// Pieces that wait go out together, up to so many bytes.
const TOGETHER: usize = 32 * 1024;

#[derive(Clone)]
pub struct Feed(Arc<Inner>);

struct Inner {
    buffer: Mutex<Pieces>,
    /// The number of the next piece. Every listener holds a receiver.
    next: watch::Sender<u64>,
    bytes_max: usize,
}

#[derive(Default)]
struct Pieces {
    pieces: VecDeque<Bytes>,
    bytes: usize,
    /// The number that the next piece will have.
    next: u64,
}

pub struct Listener {
    feed: Feed,
    news: watch::Receiver<u64>,
    /// The number of the next piece that it receives.
    at: u64,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    Piece(Bytes),
    /// So many pieces are gone.
    Missed(u64),
}

impl Default for Feed {
    fn default() -> Self {
        Self::new(KEPT_BYTES)
    }
}

impl Feed {
    pub fn new(bytes_max: usize) -> Self {
        let (buffer, next) = (Mutex::default(), watch::Sender::new(0));
        Self(Arc::new(Inner { buffer, next, bytes_max }))
    }

    pub fn is_heard(&self) -> bool {
        self.0.next.receiver_count() > 0
    }

    pub fn send(&self, text: String) {
        if text.is_empty() || !self.is_heard() {
            return;
        }
        let mut buffer = self.lock();
        buffer.bytes += text.len() + OVERHEAD;
        buffer.pieces.push_back(text.into());
        buffer.next += 1;
        while buffer.bytes > self.0.bytes_max
            && let Some(gone) = buffer.pieces.pop_front()
        {
            buffer.bytes -= gone.len() + OVERHEAD;
        }
        let next = buffer.next;
        drop(buffer);
        self.0.next.send_replace(next);
    }

    pub fn listen(&self) -> Listener {
        let buffer = self.lock();
        let (news, at) = (self.0.next.subscribe(), buffer.next);
        drop(buffer);
        Listener { feed: self.clone(), news, at }
    }

    fn lock(&self) -> MutexGuard<'_, Pieces> {
        self.0.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listener {
    /// The pieces that have come since, small ones combined.
    pub async fn next(&mut self) -> Heard {
        loop {
            self.news.mark_unchanged();
            if let Some(heard) = self.due() {
                return heard;
            }
            // The sender outlives this receiver.
            let _ = self.news.changed().await;
        }
    }

    fn due(&mut self) -> Option<Heard> {
        let buffer = self.feed.lock();
        let oldest = buffer.next - buffer.pieces.len() as u64;
        if self.at < oldest {
            let missed = oldest - self.at;
            self.at = oldest;
            return Some(Heard::Missed(missed));
        }
        let place = usize::try_from(self.at - oldest).ok()?;
        let mut waiting = buffer.pieces.iter().skip(place).peekable();
        let first = waiting.next()?.clone();
        self.at += 1;
        if waiting.peek().is_none() {
            return Some(Heard::Piece(first));
        }
        let mut together = first.to_vec();
        for piece in waiting.take_while(|piece| piece.len() <= TOGETHER) {
            if together.len() + piece.len() > TOGETHER {
                break;
            }
            together.extend_from_slice(piece);
            self.at += 1;
        }
        Some(Heard::Piece(together.into()))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut buffer = self.feed.lock();
        // The last one: no listener is behind.
        if self.feed.0.next.receiver_count() <= 1 {
            buffer.pieces.clear();
            buffer.bytes = 0;
        }
    }
}

/// Appends an event in the format of a stream.
pub fn write_event(
    out: &mut String,
    kind: &str,
    data: &(impl Serialize + ?Sized),
    id: Option<impl std::fmt::Display>,
) {
    let data = serde_json::to_string(data).expect("what is told is plain data");
    let _ = write!(out, "event: {kind}\ndata: {data}\n");
    if let Some(id) = id {
        let _ = writeln!(out, "id: {id}");
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    fn now(listener: &mut Listener) -> Option<Heard> {
        listener.next().now_or_never()
    }

    fn piece(text: &str) -> Option<Heard> {
        Some(Heard::Piece(Bytes::copy_from_slice(text.as_bytes())))
    }

    #[test]
    fn all_who_listen_hear_what_comes_from_then_on() {
        let feed = Feed::default();
        feed.send("nobody".into());
        let mut one = feed.listen();
        feed.send("a".into());
        let mut other = feed.listen();
        assert_eq!(now(&mut one), piece("a"));
        assert_eq!((now(&mut one), now(&mut other)), (None, None));
        feed.send("b".into());
        feed.send("c".into());
        assert_eq!((now(&mut one), now(&mut other)), (piece("bc"), piece("bc")));
    }

    #[test]
    fn what_is_kept_has_a_bound_in_bytes_and_who_is_behind_is_told() {
        let feed = Feed::new(3 * (10 + OVERHEAD));
        let mut slow = feed.listen();
        for number in 0..10 {
            feed.send(format!("{number:010}"));
            assert!(feed.lock().bytes <= feed.0.bytes_max);
        }
        assert_eq!(now(&mut slow), Some(Heard::Missed(7)));
        assert_eq!(now(&mut slow), piece("000000000700000000080000000009"));
        feed.send("x".repeat(1000));
        assert_eq!(now(&mut slow), Some(Heard::Missed(1)), "larger than the bound");
        drop(slow);
        let buffer = feed.lock();
        assert_eq!((buffer.bytes, buffer.pieces.len()), (0, 0));
    }

    #[test]
    fn large_pieces_go_alone() {
        let feed = Feed::default();
        let mut listener = feed.listen();
        let large = "x".repeat(TOGETHER);
        for text in ["a", &large, "b"] {
            feed.send(text.into());
        }
        for text in ["a", &large, "b"] {
            assert_eq!(now(&mut listener), piece(text));
        }
    }
}
