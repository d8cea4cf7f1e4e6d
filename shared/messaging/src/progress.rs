//! Tracks a service's consumer state: away, behind with its backlog, or caught up.

use crate::Activities;
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::watch;

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
    pub activities: Activities,
}

impl Progress {
    pub fn new() -> Arc<Self> {
        let standing = watch::Sender::new(ConsumerState::Away);
        Arc::new(Self { standing, behind: Mutex::default(), activities: Activities::default() })
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

    /// The backlog of this queue is handled.
    pub(crate) fn emptied(&self, queue: &str) {
        let mut behind = self.behind.lock().unwrap_or_else(PoisonError::into_inner);
        behind.remove(queue);
        if behind.is_empty() && !self.is_away() {
            self.standing.send_replace(ConsumerState::CaughtUp);
        }
    }
}
