//! Idempotency keys of HTTP: who works under one, and what was answered.

use chrono::{DateTime, Utc};
use database::{Failure, PgPool, Transaction};
use events::OrderId;
use sqlx::FromRow;
use std::collections::{HashMap, HashSet};

/// What a request with an idempotency key was answered.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Answer {
    pub key: String,
    /// Of what was asked for.
    pub digest: Vec<u8>,
    pub order_id: OrderId,
    #[sqlx(rename = "answer")]
    pub body: String,
}

/// What is known of some keys.
#[derive(Debug, Default)]
pub struct Keys {
    pub answered: HashMap<String, Answer>,
    /// Another process is at work under these.
    pub taken: HashSet<String>,
}

/// Takes these keys until the transaction ends, where nobody else has them, and tells what was
/// answered under them before.
pub async fn claim_keys(tx: &mut Transaction, keys: &[&str]) -> Result<Keys, Failure> {
    if keys.is_empty() {
        return Ok(Keys::default());
    }
    // A pair of numbers: orders are locked by a single one, and the two kinds never meet.
    let claimed: Vec<(String, bool)> = sqlx::query_as(
        "SELECT key, pg_try_advisory_xact_lock(
             hashtext(key), hashtext('http_idempotency_keys' || key))
         FROM UNNEST($1::TEXT[]) AS key",
    )
    .bind(keys)
    .fetch_all(&mut **tx)
    .await?;
    // A statement of its own: it must see what the last holder of the lock has committed.
    let answered: Vec<Answer> = sqlx::query_as(
        "SELECT key, digest, order_id, answer
         FROM http_idempotency_keys
         WHERE key = ANY($1)",
    )
    .bind(keys)
    .fetch_all(&mut **tx)
    .await?;
    Ok(Keys {
        answered: answered.into_iter().map(|answer| (answer.key.clone(), answer)).collect(),
        taken: claimed.into_iter().filter(|(_, ours)| !ours).map(|(key, _)| key).collect(),
    })
}

pub(super) async fn insert(tx: &mut Transaction, answers: &[&Answer]) -> Result<(), Failure> {
    sqlx::query(
        "INSERT INTO http_idempotency_keys (key, digest, order_id, answer)
         SELECT *
         FROM UNNEST($1::TEXT[], $2::BYTEA[], $3::UUID[], $4::TEXT[])",
    )
    .bind(answers.iter().map(|answer| answer.key.as_str()).collect::<Vec<_>>())
    .bind(answers.iter().map(|answer| answer.digest.as_slice()).collect::<Vec<_>>())
    .bind(answers.iter().map(|answer| answer.order_id).collect::<Vec<_>>())
    .bind(answers.iter().map(|answer| answer.body.as_str()).collect::<Vec<_>>())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Deletes so many of the answers given before that moment, but for what another process is at.
pub async fn forget_answers(
    pool: &PgPool,
    before: DateTime<Utc>,
    max: u32,
) -> Result<u64, Failure> {
    let gone = sqlx::query(
        "DELETE FROM http_idempotency_keys
         WHERE key IN (
             SELECT key
             FROM http_idempotency_keys
             WHERE created_at < $1
             ORDER BY created_at
             LIMIT $2
             FOR UPDATE SKIP LOCKED)",
    )
    .bind(before)
    .bind(i64::from(max))
    .execute(pool)
    .await?;
    Ok(gone.rows_affected())
}
