//! Reads the four databases, each in one transaction with one snapshot: the common tables by its
//! own SQL, the others by their services' SQL.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use database::PlainConnection;
use events::{EventId, OrderId};
use futures::TryStreamExt;
use futures::future::BoxFuture;
use messaging::dead_letters;
use sha2::{Digest as _, Sha256};
use sqlx::postgres::PgConnectOptions;

use crate::{DeadLetter, Digest, Handled, Repair, Snapshot, Unsent, name};

/// Adds a service's rows to the snapshot.
pub type ReadRows =
    for<'a> fn(&'a mut PlainConnection, &'a mut Snapshot) -> BoxFuture<'a, sqlx::Result<()>>;
/// Reads the first so many orders that are not final, and how many facts all orders have.
pub type ReadOpen =
    for<'a> fn(&'a mut PlainConnection, i64) -> BoxFuture<'a, sqlx::Result<(Vec<OrderId>, i64)>>;

/// The services' own SQL.
pub struct Readers {
    /// By service.
    pub rows: &'static [(&'static str, ReadRows)],
    /// Of order.
    pub open: ReadOpen,
}

pub struct Databases {
    connections: BTreeMap<String, PlainConnection>,
}

/// Cheap enough for frequent polls: whether anything is under way, or has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pulse {
    /// Rows of each outbox, by service.
    pub unsent: BTreeMap<String, i64>,
    /// Orders that are not final; the first so many.
    pub open: Vec<OrderId>,
    /// Rows that are only ever added to.
    pub counts: BTreeMap<String, i64>,
}

/// A limit on listed open orders, so that the query stays fast.
const OPEN_MAX: i64 = 10_000;

impl Databases {
    pub async fn connect(urls: &BTreeMap<String, String>) -> Result<Self> {
        let mut connections = BTreeMap::new();
        for (service, url) in urls {
            let options: PgConnectOptions = url.parse()?;
            let place = format!("{}:{}", options.get_host(), options.get_port());
            let connected = PlainConnection::connect(&options).await.with_context(|| {
                let variable = service.to_uppercase();
                format!(
                    "the database of {service} is not reachable at {place}: run `make up`, or set \
                     {variable}_DB_PORT"
                )
            })?;
            connections.insert(service.clone(), connected);
        }
        Ok(Self { connections })
    }

    pub async fn pulse(&mut self, readers: &Readers) -> Result<Pulse> {
        let mut pulse = Pulse::default();
        for (service, connection) in &mut self.connections {
            let (unsent, handled): (i64, i64) = sqlx::query_as(
                "SELECT (SELECT COUNT(*) FROM outbox), (SELECT COUNT(*) FROM idempotency_keys)",
            )
            .fetch_one(&mut *connection)
            .await?;
            pulse.unsent.insert(service.clone(), unsent);
            pulse.counts.insert(service.clone(), handled);
        }
        let (open, facts) = (readers.open)(self.of("order")?, OPEN_MAX).await?;
        pulse.open = open;
        pulse.counts.insert("facts".into(), facts);
        Ok(pulse)
    }

    pub async fn read(&mut self, readers: &Readers, snapshot: &mut Snapshot) -> Result<()> {
        for (service, connection) in &mut self.connections {
            begin(connection).await?;
            if let Some((_, rows)) = readers.rows.iter().find(|(name, _)| name == service) {
                rows(connection, snapshot).await?;
            }
            snapshot.handled.insert(service.clone(), handled(connection).await?);
            snapshot.outboxes.insert(service.clone(), outbox(connection).await?);
            snapshot.purged.extend(purged(connection).await?);
            snapshot.repaired.extend(repaired(connection).await?);
            sqlx::query("COMMIT").execute(&mut *connection).await?;
        }
        Ok(())
    }

    /// Purged dead letters, each from the database of its consumer. One that the consumer has
    /// handled all the same is not missing.
    pub async fn purged(&mut self) -> Result<Vec<DeadLetter>> {
        let mut found = Vec::new();
        for connection in self.connections.values_mut() {
            found.extend(purged(connection).await?);
        }
        Ok(found)
    }

    pub fn services(&self) -> Vec<String> {
        self.connections.keys().cloned().collect()
    }

    /// The service whose database records a queue's dead letters; order for an unknown service.
    pub fn keeper(&self, queue: &str) -> &str {
        let service = queue.split('.').next().unwrap_or_default();
        self.connections.get_key_value(service).map_or("order", |(known, _)| known)
    }

    pub fn of(&mut self, service: &str) -> Result<&mut PlainConnection> {
        self.connections.get_mut(service).with_context(|| format!("no database of {service}"))
    }
}

/// A connection that broke half-way is not used again, so no transaction is left open for others.
async fn begin(connection: &mut PlainConnection) -> Result<()> {
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
    sqlx::query(begin).execute(connection).await?;
    Ok(())
}

async fn handled(connection: &mut PlainConnection) -> Result<Vec<Handled>> {
    let mut found = Vec::new();
    let query = "SELECT event_id, event_type, order_id, digest FROM idempotency_keys";
    let mut rows = sqlx::query_as(query).fetch(connection);
    while let Some((event_id, event, order_id, digest)) = rows.try_next().await? {
        let (event, digest): (String, Vec<u8>) = (event, digest);
        let digest = short(&digest);
        found.push(Handled { event_id, event: name(&event), order_id, digest });
    }
    Ok(found)
}

async fn outbox(connection: &mut PlainConnection) -> Result<Vec<Unsent>> {
    let mut found = Vec::new();
    let query = "SELECT event_id, event_type, order_id, body FROM outbox";
    let mut rows = sqlx::query_as(query).fetch(connection);
    while let Some((event_id, event, order_id, body)) = rows.try_next().await? {
        let (event, body): (String, String) = (event, body);
        let digest = short(&Sha256::digest(body));
        found.push(Unsent { event_id, event: name(&event), order_id, digest });
    }
    Ok(found)
}

async fn purged(connection: &mut PlainConnection) -> Result<Vec<DeadLetter>> {
    type Row = (String, String, Option<OrderId>, Option<String>, Option<String>);
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT queue, message_id, order_id, event_type, reason
             FROM dead_letter_actions
             WHERE action = 'purged'
                 AND NOT EXISTS (
                     SELECT FROM idempotency_keys
                     WHERE event_id = CASE
                         WHEN message_id ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
                         THEN message_id::UUID END)",
    )
    .fetch_all(connection)
    .await?;
    let letters = rows.into_iter().map(|(queue, id, order_id, event, reason)| DeadLetter {
        queue: dead_letters(&queue),
        message_id: Some(id).filter(|id| !id.is_empty()),
        order_id,
        event,
        reason,
        digest: None,
    });
    Ok(letters.collect())
}

async fn repaired(connection: &mut PlainConnection) -> Result<Vec<Repair>> {
    let query =
        "SELECT message_id, new_event_id FROM dead_letter_actions WHERE action = 'repaired'";
    let rows: Vec<(String, EventId)> = sqlx::query_as(query).fetch_all(connection).await?;
    let repairs =
        rows.into_iter().filter_map(|(old, new)| Some(Repair { old: old.parse().ok()?, new }));
    Ok(repairs.collect())
}

/// As much of it as the services keep.
fn short(digest: &[u8]) -> Digest {
    let mut short = Digest::default();
    let size = digest.len().min(short.len());
    short[..size].copy_from_slice(&digest[..size]);
    short
}
