//! For how long idempotency keys are kept. Whether an older event was handled nobody can tell, so
//! the loop and everyone who replays refuse it. Pure.

use chrono::{DateTime, TimeDelta, Utc};

/// The clocks of the services' databases differ. What is further ahead has no place to be kept in.
const AHEAD_MAX: TimeDelta = TimeDelta::days(1);
/// The last key of a day is refused for as long before the day's keys are dropped, though the
/// database's clock be set back meanwhile.
const MARGIN: TimeDelta = TimeDelta::days(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    days: u16,
}

impl Default for Kept {
    fn default() -> Self {
        Self::days(30)
    }
}

impl Kept {
    pub const fn days(days: u16) -> Self {
        Self { days }
    }

    /// What was said before is refused.
    pub fn since(self, now: DateTime<Utc>) -> DateTime<Utc> {
        now - TimeDelta::days(self.days.into())
    }

    /// Keys of what was said before are of no use to anybody.
    pub fn droppable_before(self, now: DateTime<Utc>) -> DateTime<Utc> {
        self.since(now) - MARGIN
    }

    /// Whether an event that was said then can still be handled once and no more; or the reason for
    /// which it is refused.
    pub fn check(self, said_at: DateTime<Utc>, now: DateTime<Utc>) -> Result<(), String> {
        let said = said_at.format("%F %T");
        if said_at < self.since(now) {
            return Err(format!(
                "expired: it was said on {said}, and idempotency keys are kept for {} days \
                 (KEEP_DAYS), so whether it was handled cannot be told. When you know that it was \
                 not, export it and import it with --new-id",
                self.days,
            ));
        }
        if said_at > now + AHEAD_MAX {
            return Err(format!(
                "from the future: its message_id says {said}, and it is {}. Where a clock is \
                 wrong, set it right and replay it; else export it and import it with --new-id",
                now.format("%F %T"),
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOMENT: TimeDelta = TimeDelta::milliseconds(1);

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_767_000_000, 0).unwrap()
    }

    #[test]
    fn what_is_older_than_the_keys_is_refused_and_told_what_to_do() {
        let kept = Kept::days(7);
        let oldest = now() - TimeDelta::days(7);
        assert_eq!(kept.check(oldest, now()), Ok(()));
        let why = kept.check(oldest - MOMENT, now()).unwrap_err();
        assert!(why.starts_with("expired: it was said on 2025-12-22 09:19:59"), "{why}");
        assert!(why.contains("7 days (KEEP_DAYS)") && why.contains("--new-id"), "{why}");
    }

    #[test]
    fn what_is_said_by_a_clock_far_ahead_is_refused() {
        let ahead = now() + TimeDelta::days(1);
        assert_eq!(Kept::default().check(ahead, now()), Ok(()));
        let why = Kept::default().check(ahead + MOMENT, now()).unwrap_err();
        assert!(why.starts_with("from the future: its message_id says 2025-12-30"), "{why}");
    }

    #[test]
    fn nothing_is_droppable_that_a_clock_a_day_behind_would_not_refuse() {
        let kept = Kept::default();
        let newest_dropped = kept.droppable_before(now()) - MOMENT;
        let behind = now() - TimeDelta::days(1);
        assert!(kept.check(newest_dropped, behind).is_err());
    }
}
