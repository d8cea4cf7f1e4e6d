//! Stores the answers to HTTP idempotency keys.

use crate::placing::ownerless_key;
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

impl Answer {
    /// The answer that was given before. A retry of a request from before keys were required is
    /// one whose content is the same.
    pub fn given<'a>(&self, find: impl Fn(&str) -> Option<&'a Self>) -> Option<&'a Self> {
        find(&self.key).or_else(|| {
            let ownerless = ownerless_key(&self.key).and_then(find)?;
            (ownerless.digest == self.digest).then_some(ownerless)
        })
    }
}

/// The answers given before to the requests with these answers, by their keys.
pub(super) async fn given(
    session: &Session,
    repeated: &[&Answer],
) -> Result<HashMap<String, Answer>, Failure> {
    let keys = repeated.iter().map(|asked| asked.key.as_str());
    let keys: Vec<_> = keys.flat_map(|key| [Some(key), ownerless_key(key)]).flatten().collect();
    let query = session.query(
        "SELECT key, digest, order_id, answer AS body
         FROM http_idempotency_keys
         WHERE key = ANY($1)",
    );
    let answers: Vec<Answer> = query.bind(keys.as_slice()).rows().await?;
    let answers: HashMap<_, _> = answers.iter().map(|one| (one.key.as_str(), one)).collect();
    let found = repeated.iter().filter_map(|asked| {
        let first = asked.given(|key| answers.get(key).copied())?;
        Some((asked.key.clone(), first.clone()))
    });
    Ok(found.collect())
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
