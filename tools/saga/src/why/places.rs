//! Finds an order's messages without taking any from a service: a main queue is only counted, since
//! fetching a message would withhold it from its service and change the order. Its content is
//! inferred: published, no longer in the outbox, not set aside, and not yet handled. Retry tiers
//! and dead letters are read, since they have no consumers.

use std::collections::BTreeMap;

use anyhow::Result;
use audit::{Broker, Databases};
use chrono::{DateTime, TimeDelta, Utc};
use dead_letters::{Letter, order_of};
use events::{EventId, OrderId, lowest_id, said_at};
use messaging::{Env, Message, SystemEnv, header};
use payment::audit::Charge;
use serde::Serialize;

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
    /// By service: the names of the events that it has handled.
    pub handled: BTreeMap<String, Vec<String>>,
    /// By service.
    pub outboxes: BTreeMap<String, Vec<Unsent>>,
    pub aside: Vec<Aside>,
    pub purged: Vec<Purged>,
    pub charge: Option<Charge>,
    /// In the order of time.
    pub beside: Vec<Beside>,
}

pub async fn find(
    order: OrderId,
    period: (DateTime<Utc>, DateTime<Utc>),
    databases: &mut Databases,
    broker: &Broker,
) -> Result<Found> {
    let mut found = Found::default();
    // Inboxes are kept by event, and an order's events are of its own time.
    let (first_event, last_event) =
        (lowest_id(period.0 - CLOCKS_APART), lowest_id(period.1 + CLOCKS_APART));
    // Set-aside messages first: one that moves on meanwhile is then found where it has arrived.
    let (tiers, parkings) = (broker.tiers().await?, broker.parkings().await?);
    let tiers = tiers.into_iter().map(|queue| (queue, true));
    for (queue, is_rung) in tiers.chain(parkings.into_iter().map(|queue| (queue, false))) {
        found.aside.extend(aside(order, broker, &queue, is_rung).await?);
    }
    for service in databases.services() {
        let database = databases.of(&service)?;
        let unsent = sqlx::query_as(
            "SELECT event_type, attempts, last_error
             FROM outbox
             WHERE order_id = $1",
        );
        let unsent = unsent.bind(order).fetch_all(&mut *database).await?.into_iter();
        let unsent =
            unsent.map(|(event, attempts, last_error)| Unsent { event, attempts, last_error });
        let handled = sqlx::query_scalar(
            "SELECT event_type
             FROM idempotency_keys
             WHERE order_id = $1 AND event_id BETWEEN $2 AND $3",
        );
        let handled = handled.bind(order).bind(first_event).bind(last_event);
        let handled = handled.fetch_all(&mut *database).await?;
        let purged = sqlx::query_as(
            "SELECT queue, reason, at
             FROM dead_letter_actions
             WHERE order_id = $1 AND action = 'purged'",
        );
        let purged = purged.bind(order).fetch_all(&mut *database).await?.into_iter();
        found.purged.extend(purged.map(|(queue, reason, at)| Purged { queue, reason, at }));
        found.outboxes.insert(service.clone(), unsent.collect());
        found.handled.insert(service, handled);
    }
    for service in databases.beside() {
        let period = (first_event, lowest_id(SystemEnv.now() + CLOCKS_APART));
        found.beside.extend(beside(order, period, &service, databases).await?);
    }
    found.beside.sort_by_key(|one| one.at);
    found.charge = payment::audit::charge(databases.of("payment")?, order).await?;
    Ok(found)
}

async fn beside(
    order: OrderId,
    (first, last): (EventId, EventId),
    service: &str,
    databases: &mut Databases,
) -> Result<Vec<Beside>> {
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
    let rows: Vec<Row> =
        rows.bind(order).bind(first).bind(last).fetch_all(databases.of(service)?).await?;
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

async fn aside(order: OrderId, broker: &Broker, queue: &str, is_rung: bool) -> Result<Vec<Aside>> {
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
                .filter(|_| is_rung)
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
    fn a_rung_is_known_by_its_name() {
        let waits = |name: &str| tier(&Message::default().with(header::DELAY, name));
        assert_eq!(waits("5s"), TimeDelta::try_seconds(5));
        assert_eq!(waits("250ms"), TimeDelta::try_milliseconds(250));
        assert_eq!(waits("soon"), None);
        assert_eq!(tier(&Message::default()), None);
    }
}
