//! Reads and writes a service's records of its dead letters.

use crate::{Letter, Past, PriorAction};
use anyhow::Result;
use events::EventId;
use messaging::{CrashPoint, crash_at};
use sqlx::{Executor, Postgres};
use std::{collections::HashMap, future::Future};
use uuid::Uuid;

/// Access to the consumers' databases, as far as they can be reached.
pub trait Books: Send {
    /// In the order of the letters.
    fn pasts(&mut self, letters: &[&Letter]) -> impl Future<Output = Result<Vec<Past>>> + Send;

    /// It is no longer purged. False if it was repaired meanwhile.
    fn revive(&mut self, letter: &Letter) -> impl Future<Output = Result<bool>> + Send;
}

/// Identifies a dead letter in the records, of any kind.
#[derive(PartialEq, Eq, Hash)]
pub struct Key {
    pub queue: String,
    pub message_id: String,
    pub digest: Vec<u8>,
}

impl Key {
    pub fn of(letter: &Letter) -> Self {
        Self {
            queue: letter.origin().unwrap_or_else(|| letter.parked.clone()),
            message_id: storable(letter.message.id.as_deref().unwrap_or_default()),
            digest: letter.message.digest(),
        }
    }
}

/// Any client may publish anything, and Postgres stores no NUL.
pub fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// The records of these letters in this service's database. For another service's letter it may
/// have an operator's action, and never that it was handled.
pub async fn pasts_in<C>(database: &mut C, service: &str, letters: &[&Letter]) -> Result<Vec<Past>>
where
    for<'c> &'c mut C: Executor<'c, Database = Postgres>,
{
    let own = |letter: &&&Letter| letter.is_for(service);
    let ids: Vec<Uuid> =
        letters.iter().filter(own).filter_map(|letter| letter.event_id()).collect();
    let handled: HashMap<Uuid, Vec<u8>> = sqlx::query_as(
        "SELECT event_id, digest
         FROM idempotency_keys
         WHERE event_id = ANY($1)",
    )
    .bind(ids)
    .fetch_all(&mut *database)
    .await?
    .into_iter()
    .collect();
    let keys: Vec<_> = letters.iter().map(|letter| Key::of(letter)).collect();
    let prior_actions: HashMap<Key, Option<EventId>> = sqlx::query_as(
        "SELECT queue, message_id, digest, new_event_id
         FROM dead_letter_actions
         WHERE message_id = ANY($1)",
    )
    .bind(keys.iter().map(|key| key.message_id.as_str()).collect::<Vec<_>>())
    .fetch_all(&mut *database)
    .await?
    .into_iter()
    .map(|(queue, message_id, digest, new)| (Key { queue, message_id, digest }, new))
    .collect();
    let past = |(letter, key): (&&Letter, Key)| {
        let id = letter.event_id().filter(|_| letter.is_for(service));
        let handled = id.and_then(|id| handled.get(&id).cloned());
        let prior_action = prior_actions
            .get(&key)
            .map(|new| new.map_or(PriorAction::Purged, PriorAction::Repaired));
        Past { handled, prior_action }
    };
    Ok(letters.iter().zip(keys).map(past).collect())
}

pub async fn revive_in<C>(database: &mut C, letter: &Letter) -> Result<bool>
where
    for<'c> &'c mut C: Executor<'c, Database = Postgres>,
{
    let Key { queue, message_id, digest } = Key::of(letter);
    let this = "queue = $1 AND message_id = $2 AND digest = $3";
    let delete = format!("DELETE FROM dead_letter_actions WHERE {this} AND action = 'purged'");
    let look = format!("SELECT NOT EXISTS (SELECT FROM dead_letter_actions WHERE {this})");
    sqlx::query(sqlx::AssertSqlSafe(delete))
        .bind(&queue)
        .bind(&message_id)
        .bind(&digest)
        .execute(&mut *database)
        .await?;
    crash_at(CrashPoint::LetterRevived);
    let look = sqlx::query_scalar(sqlx::AssertSqlSafe(look));
    Ok(look.bind(queue).bind(message_id).bind(digest).fetch_one(&mut *database).await?)
}
