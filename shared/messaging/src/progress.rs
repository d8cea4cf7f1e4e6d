//! How far a service is with what was said while it could not hear.

use crate::Activities;
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::watch;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It does not hear: the broker is away, or the database, for longer than a moment.
    Away,
    /// It consumes, and may not yet know what was said before.
    Behind,
    /// Each of its queues was empty at some time since it has begun to consume.
    CaughtUp,
}

#[derive(Debug)]
pub struct Progress {
    standing: watch::Sender<Standing>,
    behind: Mutex<BTreeSet<String>>,
    pub activities: Activities,
}

impl Progress {
    pub fn new() -> Arc<Self> {
        let standing = watch::Sender::new(Standing::Away);
        Arc::new(Self { standing, behind: Mutex::default(), activities: Activities::default() })
    }

    pub fn subscribe(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    pub(crate) fn is_away(&self) -> bool {
        *self.standing.borrow() == Standing::Away
    }

    pub(crate) fn consumes(&self, queues: impl IntoIterator<Item = String>) {
        *self.behind.lock().unwrap_or_else(PoisonError::into_inner) = queues.into_iter().collect();
        self.standing.send_replace(Standing::Behind);
    }

    pub(crate) fn away(&self) {
        self.standing.send_replace(Standing::Away);
    }

    /// All that was in this queue is handled.
    pub(crate) fn emptied(&self, queue: &str) {
        let mut behind = self.behind.lock().unwrap_or_else(PoisonError::into_inner);
        behind.remove(queue);
        if behind.is_empty() && !self.is_away() {
            self.standing.send_replace(Standing::CaughtUp);
        }
    }
}
