//! What a service's database knows of dead letters that it was to handle.

use crate::{Deed, Letter, Past};
use anyhow::Result;
use events::EventId;
use messaging::{CrashPoint, crash_at};
use sqlx::{Executor, Postgres};
use std::{collections::HashMap, future::Future};
use uuid::Uuid;

/// Whoever can ask the hearers' databases, as far as he can.
pub trait Books: Send {
    /// In the order of the letters.
    fn pasts(&mut self, letters: &[&Letter]) -> impl Future<Output = Result<Vec<Past>>> + Send;

    /// It lives again, so that it is purged no more. False where it was repaired meanwhile.
    fn revive(&mut self, letter: &Letter) -> impl Future<Output = Result<bool>> + Send;
}

/// What a dead letter is known by in the books, whatever it is.
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

/// Anyone may publish anything, and Postgres keeps no NUL.
pub fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// What the database of this service knows of these. Of a letter that another was to hear it may
/// know what a person did, and never that it was handled.
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
    let deeds: HashMap<Key, Option<EventId>> = sqlx::query_as(
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
        let deed = deeds.get(&key).map(|new| new.map_or(Deed::Purged, Deed::Repaired));
        Past { handled, deed }
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
