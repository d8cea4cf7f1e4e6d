//! What the loops of a process are doing, and since when: whether they make progress. A wait for
//! work is no activity; whatever else is waited for has a deadline, so that an activity that goes
//! on for longer than all of them is stuck.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

#[derive(Clone, Debug, Default)]
pub struct Activities(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    all: BTreeMap<u64, Activity>,
}

#[derive(Clone, Copy, Debug)]
pub struct Activity {
    /// As in "a transaction".
    pub what: &'static str,
    pub kind: Kind,
    since: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Ends by its deadline, well or not.
    Step,
    /// Many steps.
    Job,
    /// Steps that are repeated for as long as a server is away.
    Wait,
}

/// Ends the activity when dropped.
#[must_use]
pub struct Busy {
    activities: Activities,
    number: u64,
}

impl Activities {
    pub fn begin(&self, what: &'static str) -> Busy {
        self.note(what, Kind::Step)
    }

    pub fn begin_job(&self, what: &'static str) -> Busy {
        self.note(what, Kind::Job)
    }

    pub fn begin_wait(&self, what: &'static str) -> Busy {
        self.note(what, Kind::Wait)
    }

    /// What goes on for so long already, the oldest first.
    pub fn since(&self, age: Duration) -> Vec<Activity> {
        self.lock().all.values().filter(|one| one.age() >= age).copied().collect()
    }

    fn note(&self, what: &'static str, kind: Kind) -> Busy {
        let activity = Activity { what, kind, since: Instant::now() };
        let mut inner = self.lock();
        let number = inner.next;
        inner.next += 1;
        inner.all.insert(number, activity);
        Busy { activities: self.clone(), number }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Activity {
    pub fn age(&self) -> Duration {
        self.since.elapsed()
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.activities.lock().all.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_goes_on_is_known_by_its_age_until_it_ends() {
        let activities = Activities::default();
        let first = activities.begin("a transaction");
        tokio::time::advance(Duration::from_secs(3)).await;
        let _second = activities.begin_job("a job");
        let found = |age| {
            let found = activities.since(Duration::from_secs(age)).into_iter();
            found.map(|one| one.what).collect::<Vec<_>>()
        };
        assert_eq!(found(0), ["a transaction", "a job"]);
        assert_eq!(found(3), ["a transaction"]);
        assert_eq!(found(4), [""; 0]);
        drop(first);
        assert_eq!(found(0), ["a job"]);
    }
}
