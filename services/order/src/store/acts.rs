//! Stores the acts of operators.

use crate::acts::Act;
use chrono::{DateTime, Utc};
use events::OrderId;
use sqlx::{Executor, Postgres};
use uuid::Uuid;

database::row! {
    #[derive(Clone, Debug, serde::Serialize)]
    pub struct LoggedAct {
        pub id: Uuid,
        pub at: DateTime<Utc>,
        pub who: String,
        pub key_id: Option<String>,
        pub via: String,
        pub what: String,
        pub subject: String,
        pub order_id: Option<OrderId>,
        pub reason: Option<String>,
        pub outcome: Option<String>,
    }
}

macro_rules! columns {
    () => {
        "id, at, who, key_id, via, what, subject, order_id, reason, outcome"
    };
}

/// Before they are done.
pub async fn begin_acts<'c>(
    database: impl Executor<'c, Database = Postgres>,
    acts: &[Act],
) -> sqlx::Result<()> {
    let inserting = sqlx::query(
        "INSERT INTO acts (id, who, key_id, via, what, subject, order_id, reason)
         SELECT *
         FROM UNNEST($1::UUID[], $2::TEXT[], $3::TEXT[], $4::TEXT[], $5::TEXT[], $6::TEXT[],
             $7::UUID[], $8::TEXT[])",
    );
    inserting
        .bind(acts.iter().map(|act| act.id).collect::<Vec<_>>())
        .bind(acts.iter().map(|act| act.by.who.as_str()).collect::<Vec<_>>())
        .bind(acts.iter().map(|act| act.by.key_id.as_deref()).collect::<Vec<_>>())
        .bind(acts.iter().map(|act| act.by.via).collect::<Vec<_>>())
        .bind(acts.iter().map(|act| act.what).collect::<Vec<_>>())
        .bind(acts.iter().map(|act| act.subject.as_str()).collect::<Vec<_>>())
        .bind(acts.iter().map(|act| act.order_id).collect::<Vec<_>>())
        .bind(acts.iter().map(|act| act.by.reason.as_deref()).collect::<Vec<_>>())
        .execute(database)
        .await
        .map(drop)
}

pub async fn end_acts<'c>(
    database: impl Executor<'c, Database = Postgres>,
    outcomes: &[(Uuid, &str)],
) -> sqlx::Result<()> {
    let updating = sqlx::query(
        "UPDATE acts
         SET outcome = ended.outcome
         FROM UNNEST($1::UUID[], $2::TEXT[]) AS ended (id, outcome)
         WHERE acts.id = ended.id",
    );
    updating
        .bind(outcomes.iter().map(|(id, _)| *id).collect::<Vec<_>>())
        .bind(outcomes.iter().map(|(_, outcome)| *outcome).collect::<Vec<_>>())
        .execute(database)
        .await
        .map(drop)
}

/// Those since then, the oldest first.
pub async fn list_acts<'c>(
    database: impl Executor<'c, Database = Postgres>,
    since: DateTime<Utc>,
) -> sqlx::Result<Vec<LoggedAct>> {
    let acts = concat!("SELECT ", columns!(), " FROM acts WHERE at >= $1 ORDER BY id");
    sqlx::query_as(acts).bind(since).fetch_all(database).await
}

/// Those that have ended, or should have; each is taken once.
pub async fn take_unlogged<'c>(
    database: impl Executor<'c, Database = Postgres>,
    max: i64,
) -> sqlx::Result<Vec<LoggedAct>> {
    let taking = concat!(
        "UPDATE acts
         SET logged_at = now()
         WHERE id IN (
             SELECT id
             FROM acts
             WHERE logged_at IS NULL
                 AND (outcome IS NOT NULL OR at < now() - INTERVAL '10 seconds')
             ORDER BY at
             LIMIT $1
             FOR UPDATE SKIP LOCKED)
         RETURNING ",
        columns!()
    );
    sqlx::query_as(taking).bind(max).fetch_all(database).await
}
