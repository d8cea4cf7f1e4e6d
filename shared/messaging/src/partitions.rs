//! Where idempotency keys lie: a partition a day, made a week ahead, and dropped whole. They follow
//! each other without a gap, the first one from the beginning of time.

use crate::{Failure, Kept};
use chrono::{DateTime, Days, NaiveDate, NaiveTime, Utc};
use database::{PgConnection, PgPool, Transaction};
use sqlx::{AssertSqlSafe, types::Uuid};

/// More than an event's id may be ahead of our clock, and than a job may fail unnoticed.
const AHEAD: Days = Days::new(7);
const DAY: Days = Days::new(1);
/// Any number that is the same in all replicas.
const LOCK: i64 = 0x5155_4144_4b45_5953;

/// Makes the partitions that are missing, whatever has become of those that were made. Nobody waits
/// for it: who inserts goes on inserting.
pub async fn make(pool: &PgPool) -> Result<(), Failure> {
    make_at(pool, clock(pool).await?).await
}

/// Drops the partitions of which everything is refused by now; tells how many. Each waits a moment
/// at most for those who use the table, since everybody else waits behind it.
pub async fn drop_old(pool: &PgPool, kept: Kept) -> Result<usize, Failure> {
    drop_at(pool, kept, clock(pool).await?).await
}

/// What is dropped is gone: so the database's own clock decides.
async fn clock(pool: &PgPool) -> Result<DateTime<Utc>, Failure> {
    Ok(sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(pool).await?)
}

async fn make_at(pool: &PgPool, now: DateTime<Utc>) -> Result<(), Failure> {
    let today = now.date_naive();
    if missing(&there(&mut pool.acquire().await?).await?, today).is_empty() {
        return Ok(());
    }
    let mut tx = locked(pool).await?;
    for part in missing(&there(&mut tx).await?, today) {
        let (name, to) = (name_of(part.last_day()), quoted(part.to));
        let from = part.from.map_or("MINVALUE".into(), quoted);
        run(&mut tx, &format!("CREATE TABLE {name} (LIKE idempotency_keys INCLUDING ALL)")).await?;
        // Made in one step with its table it would keep everybody out for a moment.
        let bounds = format!("FOR VALUES FROM ({from}) TO ({to})");
        let attach = format!("ALTER TABLE idempotency_keys ATTACH PARTITION {name} {bounds}");
        run(&mut tx, &attach).await?;
    }
    Ok(tx.commit().await?)
}

async fn drop_at(pool: &PgPool, kept: Kept, now: DateTime<Utc>) -> Result<usize, Failure> {
    let first_kept = kept.droppable_before(now).date_naive();
    let is_old = |part: &Part| part.last_day() < first_kept;
    let mut dropped = 0;
    while there(&mut pool.acquire().await?).await?.iter().any(is_old) {
        let mut tx = locked(pool).await?;
        run(&mut tx, "SET LOCAL lock_timeout = '100ms'").await?;
        // Another replica may have been faster.
        if let Some(old) = there(&mut tx).await?.into_iter().find(is_old) {
            run(&mut tx, &format!("DROP TABLE {}", name_of(old.last_day()))).await?;
            dropped += 1;
        }
        tx.commit().await?;
    }
    Ok(dropped)
}

/// From the beginning of a day, or of time, to that of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Part {
    from: Option<NaiveDate>,
    to: NaiveDate,
}

impl Part {
    fn has(self, day: NaiveDate) -> bool {
        self.from <= Some(day) && day < self.to
    }

    /// But for the first after a pause it is its only one.
    fn last_day(self) -> NaiveDate {
        self.to - DAY
    }
}

/// What is to be made. Of days that nobody was there for, one partition has all. Before yesterday
/// there may be gaps: a key that was dropped stays gone, and what it was for is refused.
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

/// In order.
async fn there(connection: &mut PgConnection) -> Result<Vec<Part>, Failure> {
    let bounds: Vec<String> = sqlx::query_scalar(
        "SELECT pg_get_expr(relpartbound, pg_class.oid)
         FROM pg_inherits
         JOIN pg_class ON pg_class.oid = inhrelid
         WHERE inhparent = 'idempotency_keys'::REGCLASS",
    )
    .fetch_all(connection)
    .await?;
    let mut there: Vec<_> = bounds.iter().filter_map(|bounds| part(bounds)).collect();
    there.sort_unstable();
    Ok(there)
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

/// Of all replicas one at a time.
async fn locked(pool: &PgPool) -> Result<Transaction, Failure> {
    let mut tx = pool.begin().await?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(LOCK).execute(&mut *tx).await?;
    Ok(tx)
}

async fn run(connection: &mut PgConnection, statement: &str) -> Result<(), Failure> {
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(connection).await?;
    Ok(())
}

fn name_of(day: NaiveDate) -> String {
    day.format("idempotency_keys_%Y%m%d").to_string()
}

/// Before every id of that day, and after every one of the day before.
fn quoted(day: NaiveDate) -> String {
    let millis = day.and_time(NaiveTime::MIN).and_utc().timestamp_millis().unsigned_abs();
    format!("'{}'", Uuid::from_u128(u128::from(millis) << 80))
}

#[cfg(test)]
mod tests;
