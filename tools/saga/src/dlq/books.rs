//! Reads and writes records of dead letters in the services' databases: always in the database of
//! the service that was to handle the message.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, Result, bail};
use audit::{Databases, OrderStatus};
use database::PlainConnection;
use dead_letters::{Key, Letter, Past, pasts_in, revive_in, storable};
use events::{EventId, OrderId, SERVICES};
use messaging::{CrashPoint, crash_at};

pub struct Books {
    databases: Databases,
}

/// A repair as it is recorded.
pub struct Repair {
    pub new_id: EventId,
    pub new_digest: Vec<u8>,
    /// Whether the old message is leased. If not, only a purged message may be repaired: any other
    /// may be about to be handled.
    pub is_held: bool,
}

impl Books {
    pub const fn new(databases: Databases) -> Self {
        Self { databases }
    }

    /// Where acts are recorded.
    pub fn orders(&mut self) -> Result<&mut PlainConnection> {
        self.databases.of("order")
    }

    /// The states of these letters' orders, where order knows them.
    pub async fn statuses(&mut self, letters: &[&Letter]) -> Result<HashMap<OrderId, String>> {
        let orders: Vec<_> = letters.iter().filter_map(|letter| letter.order_id()).collect();
        Ok(order::audit::statuses(self.databases.of("order")?, &orders).await?)
    }

    /// The orders of these letters that are charged and not CONFIRMED, and their amounts.
    pub async fn charged(&mut self, letters: &[&Letter]) -> Result<Vec<(OrderId, String)>> {
        let statuses = self.statuses(letters).await?;
        let is_open = |order: &OrderId| {
            statuses.get(order).is_none_or(|status| status != OrderStatus::Confirmed.name())
        };
        let of_the_saga =
            letters.iter().filter(|letter| SERVICES.contains(&self.keeper(letter).as_str()));
        let orders = of_the_saga.filter_map(|letter| letter.order_id()).filter(is_open);
        let orders: Vec<_> = orders.collect();
        Ok(payment::audit::charged(self.databases.of("payment")?, &orders).await?)
    }

    /// Records that these are purged, before they are.
    pub async fn purge(&mut self, letters: &[&Letter]) -> Result<()> {
        for (service, places) in self.by_keeper(letters) {
            let letters: Vec<_> = places.iter().map(|place| letters[*place]).collect();
            let keys: Vec<_> = letters.iter().map(|letter| Key::of(letter)).collect();
            sqlx::query(
                "INSERT INTO dead_letter_actions
                     (action, queue, message_id, digest, event_type, order_id, reason)
                 SELECT 'purged', *
                 FROM UNNEST($1::TEXT[], $2::TEXT[], $3::BYTEA[], $4::TEXT[], $5::UUID[],
                     $6::TEXT[])
                 ON CONFLICT DO NOTHING",
            )
            .bind(keys.iter().map(|key| key.queue.as_str()).collect::<Vec<_>>())
            .bind(keys.iter().map(|key| key.message_id.as_str()).collect::<Vec<_>>())
            .bind(keys.iter().map(|key| key.digest.as_slice()).collect::<Vec<_>>())
            .bind(letters.iter().map(|letter| kind(letter)).collect::<Vec<_>>())
            .bind(letters.iter().map(|letter| letter.order_id()).collect::<Vec<_>>())
            .bind(letters.iter().map(|letter| storable(&letter.reason())).collect::<Vec<_>>())
            .execute(self.databases.of(&service)?)
            .await
            .with_context(|| format!("cannot note in the database of {service}"))?;
        }
        Ok(())
    }

    /// Records that the message continues as another event, and returns the new id: the recorded
    /// one, where this repair was begun before.
    pub async fn repair(
        &mut self,
        old: &Letter,
        digest: &[u8],
        repair: &Repair,
    ) -> Result<EventId> {
        let Key { queue, message_id, .. } = Key::of(old);
        let database = self.databases.of(&self.keeper(old))?;
        let update = "action = 'repaired', new_event_id = $4, new_digest = $5, at = now()";
        let insert = format!(
            "INSERT INTO dead_letter_actions
                 (action, queue, message_id, digest, new_event_id, new_digest, event_type, order_id,
                  reason)
             VALUES ('repaired', $1, $2, $3, $4, $5, $6, $7, $8)
             ON CONFLICT (queue, message_id, digest) DO UPDATE
             SET {update}
             WHERE dead_letter_actions.action = 'purged'"
        );
        let only_purged = format!(
            "UPDATE dead_letter_actions
             SET {update}, event_type = $6, order_id = $7, reason = $8
             WHERE queue = $1 AND message_id = $2 AND digest = $3 AND action = 'purged'"
        );
        sqlx::query(sqlx::AssertSqlSafe(if repair.is_held { insert } else { only_purged }))
            .bind(&queue)
            .bind(&message_id)
            .bind(digest)
            .bind(repair.new_id)
            .bind(&repair.new_digest)
            .bind(kind(old))
            .bind(old.order_id())
            .bind(storable(&old.reason()))
            .execute(&mut *database)
            .await?;
        crash_at(CrashPoint::RepairNoted);
        let noted: Option<(EventId, Vec<u8>)> = sqlx::query_as(
            "SELECT new_event_id, new_digest
             FROM dead_letter_actions
             WHERE queue = $1 AND message_id = $2 AND digest = $3 AND action = 'repaired'",
        )
        .bind(queue)
        .bind(message_id)
        .bind(digest)
        .fetch_optional(database)
        .await?;
        match noted {
            Some((new, bytes)) if bytes == repair.new_digest => Ok(new),
            Some((new, _)) => bail!("it was already repaired differently, as event {new}"),
            None => bail!(
                "no dead letter with this message_id and digest is in {}: it was replayed, or \
                 another command has fetched it, or it is from another queue",
                old.parked
            ),
        }
    }

    fn keeper(&self, letter: &Letter) -> String {
        let queue = letter.origin().unwrap_or_default();
        self.databases.keeper(&queue).into()
    }

    fn by_keeper(&self, letters: &[&Letter]) -> BTreeMap<String, Vec<usize>> {
        let mut places: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (place, letter) in letters.iter().enumerate() {
            places.entry(self.keeper(letter)).or_default().push(place);
        }
        places
    }
}

fn kind(letter: &Letter) -> Option<String> {
    letter.message.kind.as_deref().map(storable)
}

impl dead_letters::Books for Books {
    async fn pasts(&mut self, letters: &[&Letter]) -> Result<Vec<Past>> {
        let mut pasts = vec![Past::default(); letters.len()];
        for (service, places) in self.by_keeper(letters) {
            let its: Vec<_> = places.iter().map(|place| letters[*place]).collect();
            let known = pasts_in(self.databases.of(&service)?, &service, &its).await?;
            for (place, past) in places.into_iter().zip(known) {
                pasts[place] = past;
            }
        }
        Ok(pasts)
    }

    async fn revive(&mut self, letter: &Letter) -> Result<bool> {
        revive_in(self.databases.of(&self.keeper(letter))?, letter).await
    }
}
