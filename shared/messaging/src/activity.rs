//! Tracks the activities of a process's loops and their start times, for liveness. A wait for work
//! is no activity; every other wait has a deadline, so an activity that outlasts all deadlines is
//! stuck.

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
    /// Ends by its deadline, with success or not.
    Step,
    /// Many steps.
    Job,
    /// Steps that are repeated as long as a server is unavailable.
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

    /// The activities that have lasted this long, the oldest first.
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
