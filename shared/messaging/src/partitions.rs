//! Partitions the inbox and the history by day: created a week ahead, dropped whole. The partitions
//! are contiguous; the first one begins at the beginning of time.

use crate::{Failure, Retention};
use chrono::{DateTime, Days, NaiveDate, NaiveTime, Utc};
use database::{PgPool, Session, Transaction};
use events::lowest_id;
use sqlx::types::Uuid;

/// More than an event's id may be ahead of our clock, and than this job may fail unnoticed.
const AHEAD: Days = Days::new(7);
const DAY: Days = Days::new(1);
/// Any number that is the same in all replicas.
const LOCK: i64 = 0x5155_4144_4b45_5953;

/// A table that is partitioned by its events' ids, which begin with their time.
#[derive(Clone, Copy, Debug)]
pub struct Daily(&'static str);

pub const INBOX: Daily = Daily("idempotency_keys");
pub const HISTORY: Daily = Daily("said");

impl Daily {
    pub const fn name(self) -> &'static str {
        self.0
    }

    /// Creates the missing partitions, independently of those that exist. Inserts go on meanwhile.
    pub async fn make(self, pool: &PgPool) -> Result<(), Failure> {
        self.make_at(pool, clock(pool).await?).await
    }

    /// Drops the partitions whose events are all older than the retention; returns how many. Each
    /// waits only a moment for users of the table, since all others wait behind it.
    pub async fn drop_old(self, pool: &PgPool, retention: Retention) -> Result<usize, Failure> {
        self.drop_at(pool, retention, clock(pool).await?).await
    }

    async fn make_at(self, pool: &PgPool, now: DateTime<Utc>) -> Result<(), Failure> {
        let (Self(table), today) = (self, now.date_naive());
        if missing(&self.there(&pool.statement().await?).await?, today).is_empty() {
            return Ok(());
        }
        let tx = locked(pool).await?;
        for part in missing(&self.there(&tx).await?, today) {
            let (name, to) = (self.name_of(part.last_day()), quoted(part.to));
            let from = part.from.map_or("MINVALUE".into(), quoted);
            tx.query(format!("CREATE TABLE {name} (LIKE {table} INCLUDING ALL)")).run();
            // Created together with its table it would block all users for a moment.
            let bounds = format!("FOR VALUES FROM ({from}) TO ({to})");
            tx.query(format!("ALTER TABLE {table} ATTACH PARTITION {name} {bounds}")).run();
        }
        Ok(tx.commit().await?)
    }

    async fn drop_at(
        self,
        pool: &PgPool,
        retention: Retention,
        now: DateTime<Utc>,
    ) -> Result<usize, Failure> {
        let first_kept = retention.droppable_before(now).date_naive();
        let is_old = |part: &Part| part.last_day() < first_kept;
        let mut dropped = 0;
        while self.there(&pool.statement().await?).await?.iter().any(is_old) {
            let tx = locked(pool).await?;
            tx.query("SET LOCAL lock_timeout = '100ms'").run();
            // Another replica may have been faster.
            if let Some(old) = self.there(&tx).await?.into_iter().find(is_old) {
                tx.query(format!("DROP TABLE {}", self.name_of(old.last_day()))).run();
                dropped += 1;
            }
            tx.commit().await?;
        }
        Ok(dropped)
    }

    /// In order.
    async fn there(self, session: &Session) -> Result<Vec<Part>, Failure> {
        let query = session.query(
            "SELECT pg_get_expr(relpartbound, pg_class.oid)
             FROM pg_inherits
             JOIN pg_class ON pg_class.oid = inhrelid
             WHERE inhparent = $1::TEXT::REGCLASS",
        );
        let bounds: Vec<(String,)> = query.bind(self.0).rows().await?;
        let mut there: Vec<_> = bounds.iter().filter_map(|(bounds,)| part(bounds)).collect();
        there.sort_unstable();
        Ok(there)
    }

    fn name_of(self, day: NaiveDate) -> String {
        format!("{}_{}", self.0, day.format("%Y%m%d"))
    }
}

/// Dropping is final, so the database's own clock decides.
async fn clock(pool: &PgPool) -> Result<DateTime<Utc>, Failure> {
    Ok(sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(pool).await?)
}

/// From the start of a day, or of time, to the start of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Part {
    from: Option<NaiveDate>,
    to: NaiveDate,
}

impl Part {
    fn has(self, day: NaiveDate) -> bool {
        self.from <= Some(day) && day < self.to
    }

    /// Its only day, except for the first partition after a pause.
    fn last_day(self) -> NaiveDate {
        self.to - DAY
    }
}

/// The partitions to create. One partition covers the days without a running service. There may be
/// gaps before yesterday: a dropped key stays gone, and its event is refused.
fn missing(there: &[Part], today: NaiveDate) -> Vec<Part> {
    let yesterday = today - DAY;
    let before = there.iter().map(|part| part.to).filter(|to| *to <= yesterday).max();
    let mut from = before.or(if there.is_empty() { None } else { Some(yesterday) });
    let (mut day, mut missing) = (yesterday, Vec::new());
    while day <= today + AHEAD {
        match there.iter().find(|part| part.has(day)) {
            Some(part) => day = part.to,
            None => {
                missing.push(Part { from, to: day + DAY });
                day = day + DAY;
            }
        }
        from = Some(day);
    }
    missing
}

/// As Postgres prints it: `FOR VALUES FROM (MINVALUE) TO ('019c…')`.
fn part(bounds: &str) -> Option<Part> {
    let (from, to) = bounds.split_once(" TO ")?;
    let day = |bound: &str| {
        let id: Uuid = bound.split('\'').nth(1)?.parse().ok()?;
        let millis = i64::try_from(id.as_u128() >> 80).ok()?;
        Some(DateTime::from_timestamp_millis(millis)?.date_naive())
    };
    Some(Part { from: day(from), to: day(to)? })
}

/// One replica at a time.
async fn locked(pool: &PgPool) -> Result<Transaction, Failure> {
    let tx = pool.begin().await?;
    tx.query("SELECT pg_advisory_xact_lock($1)").bind(LOCK).done().await?;
    Ok(tx)
}

/// Before every id of that day, and after every id of the day before.
fn quoted(day: NaiveDate) -> String {
    format!("'{}'", lowest_id(day.and_time(NaiveTime::MIN).and_utc()))
}

#[cfg(test)]
mod tests;
