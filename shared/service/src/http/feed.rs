//! Broadcasts pieces of text to listeners: each is written once for all, and kept for slow
//! listeners up to a bound in bytes. A piece with an owner goes to listeners of that owner, and of
//! all. Without listeners it costs nothing.

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
    pieces: VecDeque<Piece>,
    bytes: usize,
    /// The number that the next piece will have.
    next: u64,
}

struct Piece {
    text: Bytes,
    owner: Option<Arc<str>>,
}

pub struct Listener {
    feed: Feed,
    /// Whose pieces it receives; none is everyone's.
    owner: Option<Arc<str>>,
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

    pub fn send(&self, owner: Option<Arc<str>>, text: String) {
        if text.is_empty() || !self.is_heard() {
            return;
        }
        let mut buffer = self.lock();
        buffer.bytes += text.len() + OVERHEAD;
        buffer.pieces.push_back(Piece { text: text.into(), owner });
        buffer.next += 1;
        while buffer.bytes > self.0.bytes_max
            && let Some(gone) = buffer.pieces.pop_front()
        {
            buffer.bytes -= gone.text.len() + OVERHEAD;
        }
        let next = buffer.next;
        drop(buffer);
        self.0.next.send_replace(next);
    }

    /// To the pieces of this owner, or to all.
    pub fn listen(&self, owner: Option<Arc<str>>) -> Listener {
        let buffer = self.lock();
        let (news, at) = (self.0.next.subscribe(), buffer.next);
        drop(buffer);
        Listener { feed: self.clone(), owner, news, at }
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
            // How many of them were another's is not its business.
            return Some(Heard::Missed(if self.owner.is_some() { 1 } else { missed }));
        }
        let place = usize::try_from(self.at - oldest).ok()?;
        let owner = self.owner.as_ref();
        let is_own = |piece: &Piece| owner.is_none() || piece.owner.as_ref() == owner;
        let waiting = (self.at + 1..).zip(buffer.pieces.iter().skip(place));
        let mut own = waiting.filter(|(_, piece)| is_own(piece)).peekable();
        let Some((after, first)) = own.next() else {
            self.at = buffer.next;
            return None;
        };
        self.at = after;
        if own.peek().is_none() {
            return Some(Heard::Piece(first.text.clone()));
        }
        let mut together = first.text.to_vec();
        for (after, Piece { text, .. }) in own {
            if together.len() + text.len() > TOGETHER {
                break;
            }
            together.extend_from_slice(text);
            self.at = after;
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
        feed.send(None, "nobody".into());
        let mut one = feed.listen(None);
        feed.send(None, "a".into());
        let mut other = feed.listen(None);
        assert_eq!(now(&mut one), piece("a"));
        assert_eq!((now(&mut one), now(&mut other)), (None, None));
        feed.send(None, "b".into());
        feed.send(None, "c".into());
        assert_eq!((now(&mut one), now(&mut other)), (piece("bc"), piece("bc")));
    }

    #[test]
    fn what_is_kept_has_a_bound_in_bytes_and_who_is_behind_is_told() {
        let feed = Feed::new(3 * (10 + OVERHEAD));
        let mut slow = feed.listen(None);
        for number in 0..10 {
            feed.send(None, format!("{number:010}"));
            assert!(feed.lock().bytes <= feed.0.bytes_max);
        }
        assert_eq!(now(&mut slow), Some(Heard::Missed(7)));
        assert_eq!(now(&mut slow), piece("000000000700000000080000000009"));
        feed.send(None, "x".repeat(1000));
        assert_eq!(now(&mut slow), Some(Heard::Missed(1)), "larger than the bound");
        drop(slow);
        let buffer = feed.lock();
        assert_eq!((buffer.bytes, buffer.pieces.len()), (0, 0));
    }

    #[test]
    fn large_pieces_go_alone() {
        let feed = Feed::default();
        let mut listener = feed.listen(None);
        let large = "x".repeat(TOGETHER);
        for text in ["a", &large, "b"] {
            feed.send(None, text.into());
        }
        for text in ["a", &large, "b"] {
            assert_eq!(now(&mut listener), piece(text));
        }
    }

    #[test]
    fn who_listens_for_one_owner_hears_of_no_other() {
        let feed = Feed::new(4 * (1 + OVERHEAD));
        let owner = |name: &str| Some(Arc::from(name));
        let (mut a, mut all) = (feed.listen(owner("a")), feed.listen(None));
        for (of, text) in [("a", "1"), ("b", "2"), ("a", "3")] {
            feed.send(owner(of), text.into());
        }
        feed.send(None, "4".into());
        assert_eq!((now(&mut a), now(&mut all)), (piece("13"), piece("1234")));
        assert_eq!(now(&mut a), None);
        feed.send(owner("b"), "5".into());
        assert_eq!(now(&mut a), None);
        feed.send(owner("a"), "6".into());
        assert_eq!((now(&mut a), now(&mut all)), (piece("6"), piece("56")));
        for _ in 0..7 {
            feed.send(owner("b"), "7".into());
        }
        assert_eq!(now(&mut a), Some(Heard::Missed(1)), "not how many others have");
    }
}
