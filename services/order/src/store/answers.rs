//! Stores the answers to HTTP idempotency keys.

use database::{Failure, PgPool, Session};
use events::OrderId;
use std::{collections::HashMap, time::Duration};

database::row! {
    /// The answer to a request with an idempotency key.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Answer {
        pub key: String,
        /// Of the request.
        pub digest: Vec<u8>,
        pub order_id: OrderId,
        pub body: String,
    }
}

/// The answers given under these keys, by key.
pub(super) async fn given(
    session: &Session,
    keys: &[&str],
) -> Result<HashMap<String, Answer>, Failure> {
    let query = session.query(
        "SELECT key, digest, order_id, answer AS body
         FROM http_idempotency_keys
         WHERE key = ANY($1)",
    );
    let answers: Vec<Answer> = query.bind(keys).rows().await?;
    Ok(answers.into_iter().map(|answer| (answer.key.clone(), answer)).collect())
}

/// Deletes so many of the answers that are older than that by the database's clock; skips rows that
/// another process has locked.
pub async fn forget_answers(pool: &PgPool, retention: Duration, max: u32) -> Result<u64, Failure> {
    let gone = sqlx::query(
        "DELETE FROM http_idempotency_keys
         WHERE key IN (
             SELECT key
             FROM http_idempotency_keys
             WHERE created_at < now() - $1 * INTERVAL '1 millisecond'
             ORDER BY created_at
             LIMIT $2
             FOR UPDATE SKIP LOCKED)",
    )
    .bind(i64::try_from(retention.as_millis()).unwrap_or(i64::MAX))
    .bind(i64::from(max))
    .execute(pool)
    .await?;
    Ok(gone.rows_affected())
}
