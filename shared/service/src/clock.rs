//! Keeps a service's time: the database's clock, advanced by the monotonic clock between queries.
//! The machine's own clock decides nothing; if it is wrong, a log line says so.

use chrono::{DateTime, TimeDelta, Utc};
use database::PgPool;
use messaging::Env;
use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;

/// More than the difference between any two machines with synchronised clocks.
pub const FAR: TimeDelta = TimeDelta::seconds(60);
/// A correction that is worth a line in the log.
const JUMP_US: i64 = 1_000_000;

pub struct Clock {
    machine: Arc<dyn Env>,
    origin: Instant,
    /// The database's clock at `origin`, in microseconds; unset until the first query.
    at_origin_us: OnceLock<AtomicI64>,
}

impl Clock {
    /// Uses the machine's clock until the first query of the database's.
    pub fn new(machine: Arc<dyn Env>) -> Self {
        Self { machine, origin: Instant::now(), at_origin_us: OnceLock::new() }
    }

    pub async fn look(&self, pool: &PgPool) -> Result<(), sqlx::Error> {
        let mut connection = pool.acquire().await?;
        let asked = Instant::now();
        let shown = sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(&mut connection);
        self.observe(shown.await?, asked);
        Ok(())
    }

    /// The database's clock had this value at some moment since the query was sent. So its present
    /// value is known up to the round trip, and a time within these bounds is kept: a slow answer
    /// moves nothing.
    pub fn observe(&self, shown: DateTime<Utc>, asked: Instant) {
        let round_trip = micros(asked.elapsed());
        let earliest = shown.timestamp_micros() - micros(self.origin.elapsed());
        let latest = earliest + round_trip;
        let at_origin = self.at_origin_us.get_or_init(|| (earliest + round_trip / 2).into());
        let before = at_origin.load(Ordering::Relaxed);
        let after = before.clamp(earliest, latest);
        at_origin.store(after, Ordering::Relaxed);
        if (after - before).abs() > JUMP_US {
            let seconds = (after - before) / JUMP_US;
            tracing::warn!(seconds, "the database's clock has jumped; the service follows it");
        }
    }

    /// How far the machine's clock is ahead of the database's; below zero, behind.
    pub fn ahead(&self) -> TimeDelta {
        self.machine.now() - self.now()
    }
}

impl Env for Clock {
    fn now(&self) -> DateTime<Utc> {
        let since_origin = micros(self.origin.elapsed());
        self.at_origin_us
            .get()
            .map(|at_origin| at_origin.load(Ordering::Relaxed).saturating_add(since_origin))
            .and_then(DateTime::from_timestamp_micros)
            .unwrap_or_else(|| self.machine.now())
    }

    fn random(&self) -> u64 {
        self.machine.random()
    }
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

/// The fault of a machine whose clock is so far ahead, if any.
pub fn complaint(ahead: TimeDelta) -> Option<String> {
    (ahead.abs() > FAR).then(|| {
        let side = if ahead > TimeDelta::zero() { "ahead of" } else { "behind" };
        let apart = match (ahead.abs().num_seconds() + 30) / 60 {
            minutes @ ..120 => format!("{minutes} min"),
            minutes => format!("{} h", (minutes + 30) / 60),
        };
        format!(
            "the machine's clock is {apart} {side} the database's, which the service uses: correct \
             the machine's clock"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use messaging::SystemEnv;
    use tokio::time::advance;

    fn moment(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    async fn answered(clock: &Clock, shown: DateTime<Utc>, round_trip_ms: u64) {
        let asked = Instant::now();
        advance(Duration::from_millis(round_trip_ms)).await;
        clock.observe(shown, asked);
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_the_databases_carried_on_by_the_monotonic_clock() {
        let clock = Clock::new(SystemEnv::shared());
        assert!(clock.ahead().abs() < TimeDelta::seconds(1), "its machine's, before it looks");
        answered(&clock, moment(1_000), 20).await;
        assert_eq!(clock.now(), moment(1_000) + TimeDelta::milliseconds(10));
        assert!(complaint(clock.ahead()).unwrap().contains("ahead of"));
        advance(Duration::from_secs(60)).await;
        assert_eq!(clock.now(), moment(1_060) + TimeDelta::milliseconds(10));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_answer_moves_nothing_and_a_quick_one_what_it_must() {
        let clock = Clock::new(SystemEnv::shared());
        answered(&clock, moment(1_000), 0).await;
        // The server read its clock at once, or just before it answered.
        for read_after in [0, 90] {
            let read = clock.now() + TimeDelta::seconds(read_after);
            answered(&clock, read, 90_000).await;
        }
        assert_eq!(clock.now(), moment(1_180));
        answered(&clock, moment(1_200), 10).await;
        assert_eq!(clock.now(), moment(1_200), "as little as the answer allows");
        answered(&clock, moment(1_100), 10).await;
        assert_eq!(clock.now(), moment(1_100) + TimeDelta::milliseconds(10));
    }

    #[test]
    fn what_is_apart_is_told_from_a_minute_on() {
        assert_eq!(complaint(TimeDelta::seconds(-60)), None);
        let almost = TimeDelta::minutes(15) - TimeDelta::milliseconds(3);
        assert!(complaint(almost).unwrap().contains("15 min ahead of"));
        assert!(complaint(TimeDelta::days(-1)).unwrap().contains("24 h behind"));
    }
}
