//! Reads the four databases, each in one transaction with one snapshot: the common tables by its
//! own SQL, the others by their services' SQL.

mod beside;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Error, Result, anyhow};
use chrono::{DateTime, Utc};
use database::PlainConnection;
use events::{EventId, OrderId, SERVICES, Step, unheard};
use futures::TryStreamExt;
use futures::future::{BoxFuture, join_all, try_join_all};
use messaging::dead_letters;

use beside::open_beside;

use crate::{
    DeadLetter, Digest, Due, EventRow, Product, Progress, Repair, Scope, Snapshot, answer, name,
};

type Reading<'a, T> = BoxFuture<'a, sqlx::Result<T>>;
/// Adds a service's rows of some orders to the snapshot.
pub type ReadRows =
    for<'a> fn(&'a mut PlainConnection, &'a Scope, &'a mut Snapshot) -> Reading<'a, ()>;
/// Reads the first so many orders that are not final.
pub type ReadOpen = for<'a> fn(&'a mut PlainConnection, i64) -> Reading<'a, Vec<OrderId>>;
/// Finds the lowest of the last so many ids of orders in the scope.
pub type NthLast =
    for<'a> fn(&'a mut PlainConnection, &'a Scope, i64) -> Reading<'a, Option<OrderId>>;
pub type ReadProducts = for<'a> fn(&'a mut PlainConnection) -> Reading<'a, Vec<Product>>;
/// Reads how far the orders are checked, as JSON.
pub type ReadProgress = for<'a> fn(&'a mut PlainConnection) -> Reading<'a, Option<String>>;
pub type KeepProgress = for<'a> fn(&'a mut PlainConnection, &'a str) -> Reading<'a, ()>;

/// The services' own SQL.
pub struct Readers {
    /// By service.
    pub rows: &'static [(&'static str, ReadRows)],
    /// These four read and write order's database.
    pub open: ReadOpen,
    pub nth_last: NthLast,
    pub progress: ReadProgress,
    pub keep_progress: KeepProgress,
    /// The steps of the services beside the saga.
    pub add_ons: &'static [Step],
    /// Reads inventory's database.
    pub products: ReadProducts,
}

pub struct Databases {
    connections: BTreeMap<String, PlainConnection>,
    /// When each service beside the saga has started for the first time.
    started: BTreeMap<String, DateTime<Utc>>,
    due: Due,
    /// Those that cannot be read, and why.
    missing: BTreeMap<String, Error>,
}

/// A table of events, and the service that keeps it.
pub type Source = (Table, String);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    Inbox,
    /// The published events, which are read of services beside the saga: no fact tells of them.
    History,
    Outbox,
}

/// Cheap enough for frequent polls: whether anything is under way, or has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pulse {
    /// Rows of each outbox, by service.
    pub unsent: BTreeMap<String, i64>,
    /// Orders that are not final; the first so many.
    pub open: Vec<OrderId>,
    /// The newest event of each inbox, by service, and the newest order.
    pub newest: BTreeMap<String, Option<EventId>>,
}

/// A limit on listed open orders, so that the query stays fast.
const OPEN_MAX: i64 = 10_000;
/// A frozen server accepts a connection, and says nothing.
const ANSWER_WITHIN: Duration = Duration::from_secs(8);

impl Databases {
    /// To all of the saga's services, or none.
    pub async fn connect(urls: &BTreeMap<String, String>) -> Result<Self> {
        let mut found = Self::reach(urls, ANSWER_WITHIN).await;
        // No order waits for a service beside the saga, and no other service's check does.
        match SERVICES.iter().find_map(|service| found.missing.remove(*service)) {
            Some(why) => Err(why),
            None => Ok(found),
        }
    }

    /// To those that answer in time. The others fail where they are asked for.
    pub async fn reach(urls: &BTreeMap<String, String>, within: Duration) -> Self {
        let (mut connections, mut started) = (BTreeMap::new(), BTreeMap::new());
        let mut missing = BTreeMap::new();
        let opening = urls.iter().map(async |(service, url)| {
            let part = format!("the database of {service} at {}", place(url));
            answer(part, within, async {
                match SERVICES.contains(&service.as_str()) {
                    true => Ok((open(service, url).await?, None)),
                    false => open_beside(service, url).await.map(|(it, at)| (it, Some(at))),
                }
            })
            .await
        });
        for (service, opened) in urls.keys().zip(join_all(opening).await) {
            match opened {
                Ok((connection, start)) => {
                    connections.insert(service.clone(), connection);
                    started.extend(start.map(|start| (service.clone(), start)));
                }
                Err(why) => drop(missing.insert(service.clone(), why)),
            }
        }
        Self { connections, started, due: Due::new(), missing }
    }

    /// Those that are not there, each with the reason.
    pub const fn missing(&self) -> &BTreeMap<String, Error> {
        &self.missing
    }

    /// Not to be asked again: its answer may still come.
    pub fn lose(&mut self, service: &str, why: Error) {
        self.connections.remove(service);
        self.missing.insert(service.to_owned(), why);
    }

    pub async fn pulse(&mut self, readers: &Readers) -> Result<Pulse> {
        let mut pulse = Pulse::default();
        for (service, connection) in &mut self.connections {
            let (unsent, newest): (i64, Option<EventId>) = sqlx::query_as(
                "SELECT (SELECT COUNT(*) FROM outbox WHERE event_type <> ALL($1)),
                     (SELECT event_id FROM idempotency_keys ORDER BY event_id DESC LIMIT 1)",
            )
            .bind(unheard(readers.add_ons))
            .fetch_one(&mut *connection)
            .await?;
            pulse.unsent.insert(service.clone(), unsent);
            pulse.newest.insert(service.clone(), newest);
        }
        let order = self.of("order")?;
        pulse.open = (readers.open)(order, OPEN_MAX).await?;
        let newest = (readers.nth_last)(order, &Scope::ALL, 1).await?;
        pulse.newest.insert("orders".into(), newest);
        Ok(pulse)
    }

    /// Begins a transaction in each, at order's first: what order has heard of by then, the others
    /// show too. Returns order's time.
    pub async fn begin(&mut self) -> Result<DateTime<Utc>> {
        let now = begin(self.of("order")?).await?;
        let others = self.connections.iter_mut().filter(|(service, _)| *service != "order");
        try_join_all(others.map(|(_, connection)| begin(connection))).await?;
        Ok(now)
    }

    pub async fn end(&mut self) -> Result<()> {
        for connection in self.connections.values_mut() {
            sqlx::query("COMMIT").execute(connection).await?;
        }
        Ok(())
    }

    /// The services' rows of these orders, and their unsent events; without the inboxes.
    pub async fn rows(&mut self, readers: &Readers, orders: &Scope) -> Result<Snapshot> {
        let reading = self.connections.iter_mut().map(|(service, connection)| async move {
            let mut part = Snapshot::default();
            if let Some((_, rows)) = readers.rows.iter().find(|(name, _)| name == service) {
                rows(connection, orders, &mut part).await?;
            }
            part.outboxes.insert(service.clone(), read(Table::Outbox, connection, orders).await?);
            anyhow::Ok(part)
        });
        let mut all = Snapshot { due: self.due.clone(), ..Snapshot::default() };
        for part in try_join_all(reading).await? {
            all.append(part);
        }
        Ok(all)
    }

    /// These events in the inboxes, and in the histories beside the saga.
    pub async fn events(&mut self, events: &Scope) -> Result<BTreeMap<Source, Vec<EventRow>>> {
        let started = &self.started;
        let reading = self.connections.iter_mut().map(|(service, connection)| async move {
            let inbox = read(Table::Inbox, connection, events).await?;
            let mut all = vec![((Table::Inbox, service.clone()), inbox)];
            if started.contains_key(service) {
                let history = read(Table::History, connection, events).await?;
                all.push(((Table::History, service.clone()), history));
            }
            anyhow::Ok(all)
        });
        Ok(try_join_all(reading).await?.into_iter().flatten().collect())
    }

    pub async fn nth_last(
        &mut self,
        readers: &Readers,
        orders: &Scope,
        n: usize,
    ) -> Result<Option<OrderId>> {
        Ok((readers.nth_last)(self.of("order")?, orders, i64::try_from(n)?).await?)
    }

    pub async fn products(&mut self, readers: &Readers) -> Result<Vec<Product>> {
        Ok((readers.products)(self.of("inventory")?).await?)
    }

    /// None where there was no check yet, or it is not to count.
    pub async fn progress(
        &mut self,
        readers: &Readers,
        from_start: bool,
    ) -> Result<Option<Progress>> {
        let state = (readers.progress)(self.of("order")?).await.context(
            "cannot read audit_progress in order's database: start this version's order service, \
             which creates it",
        )?;
        let state = state.filter(|_| !from_start);
        state.map(|state| serde_json::from_str(&state)).transpose().context(
            "audit_progress in order's database is of another version: check with --from-start",
        )
    }

    pub async fn keep_progress(&mut self, readers: &Readers, progress: &Progress) -> Result<()> {
        let state = serde_json::to_string(progress)?;
        Ok((readers.keep_progress)(self.of("order")?, &state).await?)
    }

    pub async fn repaired(&mut self) -> Result<Vec<Repair>> {
        let mut found = Vec::new();
        for connection in self.connections.values_mut() {
            found.extend(repaired(connection).await?);
        }
        Ok(found)
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
        let Self { connections, missing, .. } = self;
        connections.get_mut(service).ok_or_else(|| match missing.get(service) {
            Some(why) => anyhow!("{why:#}"),
            None => anyhow!("no database of {service}"),
        })
    }
}

async fn open(service: &str, url: &str) -> Result<PlainConnection> {
    PlainConnection::open(url).await.with_context(|| {
        let place = place(url);
        let variable = service.to_uppercase();
        format!(
            "the database of {service} is not reachable at {place}: run `make up`, or set \
             {variable}_DB_PORT"
        )
    })
}

/// The host and port of a URL.
fn place(url: &str) -> &str {
    let (_, rest) = url.split_once("://").unwrap_or_default();
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    authority.rsplit_once('@').map_or(authority, |(_, place)| place)
}

/// A connection that broke half-way is not used again, so no transaction is left open for others.
/// Each part is planned for its own ids.
async fn begin(connection: &mut PlainConnection) -> Result<DateTime<Utc>> {
    for statement in [
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        "SET LOCAL plan_cache_mode = force_custom_plan",
    ] {
        sqlx::query(statement).execute(&mut *connection).await?;
    }
    // The first query takes the snapshot.
    Ok(sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(connection).await?)
}

/// The outbox is read by order, the others by event.
async fn read(
    table: Table,
    connection: &mut PlainConnection,
    scope: &Scope,
) -> Result<Vec<EventRow>> {
    let query = match table {
        Table::Inbox => crate::select_in!(
            sqlx::query_as,
            scope,
            "SELECT event_id, event_type, order_id, digest
             FROM idempotency_keys",
            "event_id"
        ),
        Table::History => crate::select_in!(
            sqlx::query_as,
            scope,
            "SELECT event_id, event_type, order_id, SHA256(CONVERT_TO(body, 'UTF8'))
             FROM said",
            "event_id"
        ),
        Table::Outbox => crate::select_in!(
            sqlx::query_as,
            scope,
            "SELECT event_id, event_type, order_id, SHA256(CONVERT_TO(body, 'UTF8'))
             FROM outbox",
            "order_id"
        ),
    };
    let (mut found, mut rows) = (Vec::new(), query.fetch(connection));
    while let Some((event_id, event, order_id, digest)) = rows.try_next().await? {
        let (event, digest): (String, Vec<u8>) = (event, digest);
        let digest = short(&digest);
        found.push(EventRow { event_id, event: name(&event), order_id, digest });
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
