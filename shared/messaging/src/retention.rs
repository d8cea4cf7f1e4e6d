//! Defines how long idempotency keys are kept, and published events. For an event older than the
//! keys the inbox cannot tell whether it was handled, so the consumer and every replay refuse it.
//! Pure.

use chrono::{DateTime, TimeDelta, Utc};

/// The databases' clocks differ. An event further ahead has no partition.
const AHEAD_MAX: TimeDelta = TimeDelta::days(1);
/// The last key of a day is refused this long before the day's keys are dropped, in case the
/// database's clock is set back meanwhile.
const MARGIN: TimeDelta = TimeDelta::days(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    days: u16,
}

/// Unless the setting of this name says otherwise.
pub const KEEP_DAYS: u16 = 30;

impl Default for Retention {
    fn default() -> Self {
        Self::days(KEEP_DAYS)
    }
}

impl Retention {
    pub const fn days(days: u16) -> Self {
        Self { days }
    }

    pub(crate) const fn in_days(self) -> u16 {
        self.days
    }

    /// Events from before are refused.
    pub fn since(self, now: DateTime<Utc>) -> DateTime<Utc> {
        now - TimeDelta::days(self.days.into())
    }

    /// Keys of events from before are no longer needed.
    pub(crate) fn droppable_before(self, now: DateTime<Utc>) -> DateTime<Utc> {
        self.since(now) - MARGIN
    }

    /// Checks that an event of that time can still be handled exactly once; the error is the reason
    /// for which it is refused.
    pub fn check(self, said_at: DateTime<Utc>, now: DateTime<Utc>) -> Result<(), String> {
        let said = said_at.format("%F %T");
        if said_at < self.since(now) {
            return Err(format!(
                "expired: published on {said}, older than the retention of idempotency keys ({} \
                 days, KEEP_DAYS), so a duplicate could not be detected. If you know that it was \
                 not handled, export it and import it with --new-id",
                self.days,
            ));
        }
        if said_at > now + AHEAD_MAX {
            return Err(format!(
                "from the future: its message_id has the time {said}, and it is {}. If a clock was \
                 wrong, correct it and replay the message; otherwise export it and import it with \
                 --new-id",
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
        let retention = Retention::days(7);
        let oldest = now() - TimeDelta::days(7);
        assert_eq!(retention.check(oldest, now()), Ok(()));
        let why = retention.check(oldest - MOMENT, now()).unwrap_err();
        assert!(why.starts_with("expired: published on 2025-12-22 09:19:59"), "{why}");
        assert!(why.contains("7 days, KEEP_DAYS") && why.contains("--new-id"), "{why}");
    }

    #[test]
    fn what_is_said_by_a_clock_far_ahead_is_refused() {
        let ahead = now() + TimeDelta::days(1);
        assert_eq!(Retention::default().check(ahead, now()), Ok(()));
        let why = Retention::default().check(ahead + MOMENT, now()).unwrap_err();
        assert!(
            why.starts_with("from the future: its message_id has the time 2025-12-30"),
            "{why}"
        );
    }

    #[test]
    fn nothing_is_droppable_that_a_clock_a_day_behind_would_not_refuse() {
        let retention = Retention::default();
        let newest_dropped = retention.droppable_before(now()) - MOMENT;
        let behind = now() - TimeDelta::days(1);
        assert!(retention.check(newest_dropped, behind).is_err());
    }
}
