//! Tracks a service's consumer state: away, behind with its backlog, or caught up.

use crate::{Activities, HeldUp};
use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tokio::sync::watch;

const PATIENCE: Duration = Duration::from_secs(5);
const PATIENCE_MAX: Duration = Duration::from_mins(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsumerState {
    /// It does not consume: broker or database has been unavailable for longer than a moment.
    Away,
    /// It consumes, and may still have a backlog.
    Behind,
    /// Each of its queues was empty at some time since it began to consume.
    CaughtUp,
}

#[derive(Debug)]
pub struct Progress {
    standing: watch::Sender<ConsumerState>,
    behind: Mutex<BTreeSet<String>>,
    /// How often in succession messages were given back because the database was unavailable.
    given_back: AtomicU32,
    pub activities: Activities,
    pub held_up: HeldUp,
}

impl Progress {
    pub fn new() -> Arc<Self> {
        let standing = watch::Sender::new(ConsumerState::Away);
        Arc::new(Self {
            standing,
            behind: Mutex::default(),
            given_back: AtomicU32::new(0),
            activities: Activities::default(),
            held_up: HeldUp::default(),
        })
    }

    pub fn subscribe(&self) -> watch::Receiver<ConsumerState> {
        self.standing.subscribe()
    }

    pub(crate) fn is_away(&self) -> bool {
        *self.standing.borrow() == ConsumerState::Away
    }

    pub(crate) fn consumes(&self, queues: impl IntoIterator<Item = String>) {
        *self.behind.lock().unwrap_or_else(PoisonError::into_inner) = queues.into_iter().collect();
        self.standing.send_replace(ConsumerState::Behind);
    }

    pub(crate) fn away(&self) {
        self.standing.send_replace(ConsumerState::Away);
    }

    /// How long an unavailable database is waited for before messages go back to their queues,
    /// where another copy may take them. It doubles, since the broker counts how often a message
    /// goes back, and makes it a dead letter in the end.
    pub(crate) fn patience(&self) -> Duration {
        let times = self.given_back.load(Ordering::Relaxed);
        PATIENCE.saturating_mul(2_u32.saturating_pow(times)).min(PATIENCE_MAX)
    }

    pub(crate) fn gives_back(&self) {
        let more = |times: u32| Some(times.saturating_add(1));
        _ = self.given_back.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }

    pub(crate) fn committed(&self) {
        self.given_back.store(0, Ordering::Relaxed);
    }

    /// The backlog of this queue is handled.
    pub(crate) fn emptied(&self, queue: &str) {
        let mut behind = self.behind.lock().unwrap_or_else(PoisonError::into_inner);
        behind.remove(queue);
        if behind.is_empty() && !self.is_away() {
            self.standing.send_replace(ConsumerState::CaughtUp);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_back_again_and_again_goes_back_ever_more_rarely() {
        let progress = Progress::new();
        let patience: Vec<_> = (0..9)
            .map(|_| {
                let patience = progress.patience().as_secs();
                progress.gives_back();
                patience
            })
            .collect();
        assert_eq!(patience, [5, 10, 20, 40, 80, 160, 320, 600, 600]);
        progress.committed();
        assert_eq!(progress.patience(), PATIENCE);
    }
}
