//! Where idempotency keys lie: a partition a day, made a week ahead, and dropped whole. They follow
//! each other without a gap, the first one from the beginning of time.

use crate::{Failure, Kept};
use chrono::{DateTime, Days, NaiveDate, NaiveTime, Utc};
use database::{PgConnection, PgPool};
use sqlx::{AssertSqlSafe, Postgres, Transaction, types::Uuid};

/// More than an event's id may be ahead of our clock, and than a job may fail unnoticed.
const AHEAD: Days = Days::new(7);
const DAY: Days = Days::new(1);
/// Any number that is the same in all replicas.
const LOCK: i64 = 0x5155_4144_4b45_5953;

/// Makes the partitions that are missing. Nobody waits for it: who inserts goes on inserting.
pub async fn make(pool: &PgPool, now: DateTime<Utc>) -> Result<(), Failure> {
    let today = now.date_naive();
    let until = today + AHEAD;
    if last_day(&mut *pool.acquire().await?).await? >= Some(until) {
        return Ok(());
    }
    let mut tx = locked(pool).await?;
    let last = last_day(&mut tx).await?;
    // Of days that nobody was there for, one partition has all.
    let yesterday = today - DAY;
    let first = last.map_or(yesterday, |last| yesterday.max(last + DAY));
    let mut from = last.map_or("MINVALUE".into(), |last| quoted(last + DAY));
    for day in first.iter_days().take_while(|day| *day <= until) {
        let (name, to) = (name_of(day), quoted(day + DAY));
        run(&mut tx, &format!("CREATE TABLE {name} (LIKE idempotency_keys INCLUDING ALL)")).await?;
        // Made in one step with its table it would keep everybody out for a moment.
        let bounds = format!("FOR VALUES FROM ({from}) TO ({to})");
        let attach = format!("ALTER TABLE idempotency_keys ATTACH PARTITION {name} {bounds}");
        run(&mut tx, &attach).await?;
        from = to;
    }
    Ok(tx.commit().await?)
}

/// Drops the partitions of which everything is refused by now; tells how many. Each waits a moment
/// at most for those who use the table, since everybody else waits behind it.
pub async fn drop_old(pool: &PgPool, kept: Kept, now: DateTime<Utc>) -> Result<usize, Failure> {
    let first_kept = kept.droppable_before(now).date_naive();
    let is_old = |day: &NaiveDate| *day < first_kept;
    let mut dropped = 0;
    while days(&mut *pool.acquire().await?).await?.iter().any(is_old) {
        let mut tx = locked(pool).await?;
        run(&mut tx, "SET LOCAL lock_timeout = '100ms'").await?;
        // Another replica may have been faster.
        if let Some(day) = days(&mut tx).await?.into_iter().find(is_old) {
            run(&mut tx, &format!("DROP TABLE {}", name_of(day))).await?;
            dropped += 1;
        }
        tx.commit().await?;
    }
    Ok(dropped)
}

/// The last day of each partition, in order; but for the first after a pause it is its only one.
async fn days(connection: &mut PgConnection) -> Result<Vec<NaiveDate>, Failure> {
    let names: Vec<String> = sqlx::query_scalar(
        "SELECT relname::TEXT
         FROM pg_inherits
         JOIN pg_class ON pg_class.oid = inhrelid
         WHERE inhparent = 'idempotency_keys'::REGCLASS
         ORDER BY relname",
    )
    .fetch_all(connection)
    .await?;
    Ok(names.iter().filter_map(|name| day_of(name)).collect())
}

async fn last_day(connection: &mut PgConnection) -> Result<Option<NaiveDate>, Failure> {
    Ok(days(connection).await?.pop())
}

/// Of all replicas one at a time.
async fn locked(pool: &PgPool) -> Result<Transaction<'static, Postgres>, Failure> {
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

fn day_of(name: &str) -> Option<NaiveDate> {
    NaiveDate::parse_from_str(name, "idempotency_keys_%Y%m%d").ok()
}

/// Before every id of that day, and after every one of the day before.
fn quoted(day: NaiveDate) -> String {
    let millis = day.and_time(NaiveTime::MIN).and_utc().timestamp_millis().unsigned_abs();
    format!("'{}'", Uuid::from_u128(u128::from(millis) << 80))
}

#[cfg(test)]
mod tests;
