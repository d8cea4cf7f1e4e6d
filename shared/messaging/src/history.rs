//! Keeps published events for a while, in the table `said`, so that a service that joins later can
//! be given the events that it missed.

use crate::{Failure, Outgoing, Retention, postgres::OutboxRow};
use chrono::{DateTime, Utc};
use database::PgPool;
use events::EventId;
use sqlx::{Executor, Postgres};

const DELETE: &str = "DELETE FROM outbox WHERE event_id = ANY($1)";
/// One statement, so that an event is always in one of the two tables. An event that has waited in
/// the outbox for longer than history is kept has no partition any more.
const MOVE: &str = "WITH sent AS (
         DELETE FROM outbox
         WHERE event_id = ANY($1)
         RETURNING event_id, event_type, version, order_id, body, caused_by, trace),
     oldest AS (
         SELECT EXTRACT(EPOCH FROM now() - $2 * INTERVAL '1 day') * 1000 AS millis)
     INSERT INTO said (event_id, event_type, version, order_id, body, caused_by, trace)
     SELECT sent.*
     FROM sent, oldest
     WHERE event_id >= RPAD(LPAD(TO_HEX(millis::BIGINT), 12, '0'), 32, '0')::UUID
     ON CONFLICT DO NOTHING";

/// Deletes confirmed events from the outbox, and keeps them as history.
pub(crate) async fn forget_sent(
    pool: &PgPool,
    sent: &[EventId],
    history: Retention,
) -> Result<(), Failure> {
    if history.in_days() > 0 {
        let days = f64::from(history.in_days());
        match sqlx::query(MOVE).bind(sent).bind(days).execute(pool).await.map_err(Failure::from) {
            // History holds up no event: one that stays in the outbox is published again and again.
            Err(Failure::Refused(why) | Failure::Permanent(why)) => {
                tracing::warn!(events = sent.len(), "published events are not kept: {why}");
            }
            moved => return moved.map(|_| ()),
        }
    }
    sqlx::query(DELETE).bind(sent).execute(pool).await?;
    Ok(())
}

/// The events of one kind between two ids, which are not among them.
#[derive(Clone, Debug)]
pub struct Range {
    pub event: String,
    pub after: EventId,
    pub before: EventId,
}

/// Events that are published, or about to be: between the two an event is in the outbox.
const KEPT: &str = "(SELECT event_id, event_type, version, order_id, body, caused_by, trace
         FROM said
     UNION ALL
         SELECT event_id, event_type, version, order_id, body, caused_by, trace
         FROM outbox) AS kept";

/// The first so many, in the order of their ids.
pub async fn page<C>(database: &mut C, range: &Range, max: u32) -> sqlx::Result<Vec<Outgoing>>
where
    for<'c> &'c mut C: Executor<'c, Database = Postgres>,
{
    let select = format!(
        "SELECT *, 0 AS failures
         FROM {KEPT}
         WHERE event_type = $1 AND event_id > $2 AND event_id < $3
         ORDER BY event_id
         LIMIT $4"
    );
    let rows: Vec<OutboxRow> = sqlx::query_as(sqlx::AssertSqlSafe(select))
        .bind(&range.event)
        .bind(range.after)
        .bind(range.before)
        .bind(i64::from(max))
        .fetch_all(&mut *database)
        .await?;
    Ok(rows.into_iter().map(Outgoing::from).collect())
}

pub async fn count<C>(database: &mut C, range: &Range) -> sqlx::Result<i64>
where
    for<'c> &'c mut C: Executor<'c, Database = Postgres>,
{
    let select = format!(
        "SELECT COUNT(*)
         FROM {KEPT}
         WHERE event_type = $1 AND event_id > $2 AND event_id < $3"
    );
    let count = sqlx::query_scalar(sqlx::AssertSqlSafe(select));
    count.bind(&range.event).bind(range.after).bind(range.before).fetch_one(&mut *database).await
}

database::row! {
    /// What a database has, of all kinds, at one moment of its clock.
    #[derive(Debug)]
    pub struct Kept {
        pub now: DateTime<Utc>,
        pub oldest: Option<EventId>,
        pub newest: Option<EventId>,
    }
}

pub async fn kept<C>(database: &mut C) -> sqlx::Result<Kept>
where
    for<'c> &'c mut C: Executor<'c, Database = Postgres>,
{
    let select = format!(
        "SELECT clock_timestamp() AS now,
             (SELECT event_id FROM {KEPT} ORDER BY event_id LIMIT 1) AS oldest,
             (SELECT event_id FROM {KEPT} ORDER BY event_id DESC LIMIT 1) AS newest"
    );
    sqlx::query_as(sqlx::AssertSqlSafe(select)).fetch_one(&mut *database).await
}

#[cfg(test)]
mod tests;
