//! Finds an order's messages without taking any from a service: a main queue is only counted, since
//! fetching a message would withhold it from its service and change the order. Its content is
//! inferred: published, no longer in the outbox, not set aside, and not yet handled. Retry tiers
//! and dead letters are read, since they have no consumers.

use std::collections::BTreeMap;

use anyhow::Result;
use audit::Broker;
use chrono::{DateTime, TimeDelta, Utc};
use database::PlainConnection;
use dead_letters::{Letter, order_of};
use events::{EventId, OrderId, lowest_id, said_at};
use messaging::{Env, Message, SystemEnv, header};
use payment::audit::Charge;
use serde::Serialize;

use super::reach::Reach;

/// The maximum number of messages read from a queue.
const LOOKED_AT_MAX: usize = 10_000;
/// The clocks of the databases may differ by so much.
const CLOCKS_APART: TimeDelta = TimeDelta::hours(1);

/// A message in a retry tier or a dead-letter queue.
#[derive(Clone, Debug, Serialize)]
pub struct Aside {
    pub queue: String,
    /// The queue that the message belongs to.
    pub of: String,
    pub event: Option<String>,
    pub message_id: Option<String>,
    pub attempts: i64,
    pub reason: String,
    pub since: Option<DateTime<Utc>>,
    /// When its tier returns it; none for a dead letter.
    pub returns_at: Option<DateTime<Utc>>,
}

#[derive(Clone, Debug)]
pub struct Unsent {
    pub event: String,
    pub attempts: i32,
    pub last_error: Option<String>,
}

#[derive(Clone, Debug)]
pub struct Purged {
    pub queue: String,
    pub reason: Option<String>,
    pub at: DateTime<Utc>,
}

/// An event that a service beside the saga has handled, or published.
#[derive(Clone, Debug, Serialize)]
pub struct Beside {
    pub service: String,
    pub did: Did,
    pub event: String,
    pub event_id: EventId,
    pub at: DateTime<Utc>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Did {
    Handled,
    /// It is still in its outbox.
    Said,
    Published,
}

/// All traces of one order outside its timeline.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// By service that could be read: the names of the events that it has handled.
    pub handled: BTreeMap<String, Vec<String>>,
    /// By service.
    pub outboxes: BTreeMap<String, Vec<Unsent>>,
    /// None where the broker could not be read.
    pub aside: Option<Vec<Aside>>,
    pub purged: Vec<Purged>,
    pub charge: Option<Charge>,
    /// In the order of time.
    pub beside: Vec<Beside>,
}

impl Found {
    pub fn is_read(&self, service: &str) -> bool {
        self.handled.contains_key(service)
    }

    pub fn aside(&self) -> impl Iterator<Item = &Aside> {
        self.aside.iter().flatten()
    }
}

/// The traces in one service's database.
struct Traces {
    unsent: Vec<Unsent>,
    handled: Vec<String>,
    purged: Vec<Purged>,
}

pub async fn find(
    order: OrderId,
    period: (DateTime<Utc>, DateTime<Utc>),
    reach: &mut Reach,
) -> Found {
    // Inboxes are kept by event, and an order's events are of its own time.
    let (first, last) = (lowest_id(period.0 - CLOCKS_APART), lowest_id(period.1 + CLOCKS_APART));
    // Set-aside messages first: one that moves on meanwhile is then found where it has arrived.
    let aside = reach.broker(async |broker| waiting_or_dead(order, broker).await).await;
    let mut found = Found { aside, ..Found::default() };
    for service in reach.databases.services() {
        let traces =
            reach.of(&service, async |database| traces(order, (first, last), database).await);
        let Some(Traces { unsent, handled, purged }) = traces.await else { continue };
        if service == "payment" {
            let charge = async |database: &mut _| payment::audit::charge(database, order).await;
            let Some(charge) = reach.of(&service, charge).await else { continue };
            found.charge = charge;
        }
        found.purged.extend(purged);
        found.outboxes.insert(service.clone(), unsent);
        found.handled.insert(service, handled);
    }
    let period = (first, lowest_id(SystemEnv.now() + CLOCKS_APART));
    for service in reach.databases.beside() {
        let rows = reach.of(&service, async |rows| beside(order, period, &service, rows).await);
        found.beside.extend(rows.await.into_iter().flatten());
    }
    found.beside.sort_by_key(|one| one.at);
    found
}

async fn waiting_or_dead(order: OrderId, broker: &Broker) -> Result<Vec<Aside>> {
    let mut found = Vec::new();
    let (tiers, parkings) = (broker.tiers().await?, broker.parkings().await?);
    let tiers = tiers.into_iter().map(|queue| (queue, true));
    for (queue, is_tier) in tiers.chain(parkings.into_iter().map(|queue| (queue, false))) {
        found.extend(aside(order, broker, &queue, is_tier).await?);
    }
    Ok(found)
}

async fn traces(
    order: OrderId,
    (first, last): (EventId, EventId),
    database: &mut PlainConnection,
) -> sqlx::Result<Traces> {
    let unsent = sqlx::query_as(
        "SELECT event_type, attempts, last_error
         FROM outbox
         WHERE order_id = $1",
    );
    let unsent = unsent.bind(order).fetch_all(&mut *database).await?.into_iter();
    let handled = sqlx::query_scalar(
        "SELECT event_type
         FROM idempotency_keys
         WHERE order_id = $1 AND event_id BETWEEN $2 AND $3",
    );
    let handled = handled.bind(order).bind(first).bind(last);
    let handled = handled.fetch_all(&mut *database).await?;
    let purged = sqlx::query_as(
        "SELECT queue, reason, at
         FROM dead_letter_actions
         WHERE order_id = $1 AND action = 'purged'",
    );
    let purged = purged.bind(order).fetch_all(database).await?.into_iter();
    Ok(Traces {
        unsent: unsent
            .map(|(event, attempts, last_error)| Unsent { event, attempts, last_error })
            .collect(),
        handled,
        purged: purged.map(|(queue, reason, at)| Purged { queue, reason, at }).collect(),
    })
}

async fn beside(
    order: OrderId,
    (first, last): (EventId, EventId),
    service: &str,
    database: &mut PlainConnection,
) -> sqlx::Result<Vec<Beside>> {
    type Row = (String, EventId, Option<DateTime<Utc>>, bool);
    let rows = sqlx::query_as(
        "SELECT event_type, event_id, handled_at, TRUE
         FROM idempotency_keys
         WHERE order_id = $1 AND event_id BETWEEN $2 AND $3
         UNION ALL
         SELECT event_type, event_id, NULL, TRUE
         FROM said
         WHERE order_id = $1 AND event_id BETWEEN $2 AND $3
         UNION ALL
         SELECT event_type, event_id, NULL, FALSE
         FROM outbox
         WHERE order_id = $1",
    );
    let rows: Vec<Row> = rows.bind(order).bind(first).bind(last).fetch_all(database).await?;
    let rows = rows.into_iter().map(|(event, event_id, handled, is_published)| {
        let did = match (handled, is_published) {
            (Some(_), _) => Did::Handled,
            (None, true) => Did::Published,
            (None, false) => Did::Said,
        };
        let at = handled.or_else(|| said_at(event_id)).unwrap_or_default();
        Beside { service: service.to_owned(), did, event, event_id, at }
    });
    Ok(rows.collect())
}

async fn aside(order: OrderId, broker: &Broker, queue: &str, is_tier: bool) -> Result<Vec<Aside>> {
    let held = broker.hold(queue, LOOKED_AT_MAX).await?;
    let of_order = held.messages.iter().filter(|(_, message)| order_of(message) == Some(order));
    let found = of_order.map(|(_, message)| {
        let letter = Letter { parked: queue.into(), message: message.clone() };
        Aside {
            queue: queue.into(),
            of: letter.origin().unwrap_or_default(),
            event: message.kind.clone(),
            message_id: message.id.clone(),
            attempts: letter.attempts(),
            reason: letter.reason(),
            since: letter.died_at(),
            // A dead letter keeps the header of its last tier, but does not return.
            returns_at: letter
                .died_at()
                .zip(tier(message))
                .filter(|_| is_tier)
                .map(|(at, wait)| at + wait),
        }
    });
    let found = found.collect();
    held.give_back().await?;
    Ok(found)
}

/// The remaining delay of a message in a retry tier.
fn tier(message: &Message) -> Option<TimeDelta> {
    let name = message.text(header::DELAY)?;
    let (number, unit): (_, fn(i64) -> Option<TimeDelta>) = match name.strip_suffix("ms") {
        Some(number) => (number, TimeDelta::try_milliseconds),
        None => (name.strip_suffix('s')?, TimeDelta::try_seconds),
    };
    unit(number.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tier_is_known_by_its_name() {
        let waits = |name: &str| tier(&Message::default().with(header::DELAY, name));
        assert_eq!(waits("5s"), TimeDelta::try_seconds(5));
        assert_eq!(waits("250ms"), TimeDelta::try_milliseconds(250));
        assert_eq!(waits("soon"), None);
        assert_eq!(tier(&Message::default()), None);
    }
}
