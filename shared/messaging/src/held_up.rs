//! Tracks whether a database that answers refuses some of a service's work for now.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// The next try has ended by then, done or refused: a batch is divided for 30 seconds at most, and
/// a statement has a deadline.
const REFUSED_WITHIN: Duration = Duration::from_secs(45);

#[derive(Clone, Debug, Default)]
pub struct HeldUp(Arc<Mutex<Option<Refusal>>>);

#[derive(Debug)]
struct Refusal {
    since: Instant,
    until: Instant,
    why: String,
}

impl HeldUp {
    /// Some work is set aside for this reason, and tried again after this delay.
    pub fn refused(&self, why: &str, again_after: Duration) {
        let now = Instant::now();
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let since = last.as_ref().filter(|last| last.until > now).map_or(now, |last| last.since);
        *last =
            Some(Refusal { since, until: now + again_after + REFUSED_WITHIN, why: why.to_owned() });
    }

    /// For how long and why work waits; none once what was set aside can have been done.
    pub fn told(&self) -> Option<String> {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Refusal { since, why, .. } = last.as_ref().filter(|it| it.until > Instant::now())?;
        Some(format!("held up by its database for {} s: {why}", since.elapsed().as_secs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn work_is_held_up_until_it_was_tried_again_and_not_refused() {
        let held_up = HeldUp::default();
        assert_eq!(held_up.told(), None);
        for seconds in [0, 40, 80] {
            held_up.refused("a lock", Duration::from_secs(30));
            let told = format!("held up by its database for {seconds} s: a lock");
            assert_eq!(held_up.told(), Some(told));
            tokio::time::advance(Duration::from_secs(40)).await;
        }
        tokio::time::advance(Duration::from_secs(40)).await;
        assert_eq!(held_up.told(), None);
        held_up.refused("a lock", Duration::ZERO);
        assert_eq!(held_up.told(), Some("held up by its database for 0 s: a lock".into()));
    }
}
