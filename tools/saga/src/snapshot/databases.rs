//! What the four databases hold. Each is read in one transaction that sees one moment.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, Result, anyhow};
use events::{EventId, OrderId, ProductId};
use futures::TryStreamExt;
use invariants::{
    DeadLetter, Digest, Fact, Handled, Order, Payment, Product, Repair, Reservation, Shipment,
    Snapshot, Unsent, name,
};
use messaging::dead_letters;
use rust_decimal::Decimal;
use sha2::{Digest as _, Sha256};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{Connection, FromRow};

pub struct Databases {
    connections: BTreeMap<String, PgConnection>,
}

/// Little enough to be asked for often: whether anything is under way, and whether anything was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pulse {
    /// Rows of each outbox, by service.
    pub unsent: BTreeMap<String, i64>,
    /// Orders that are not final; the first so many.
    pub open: Vec<OrderId>,
    /// Rows that are only ever added to.
    pub counts: BTreeMap<String, i64>,
}

/// Of orders that are not final, no more are listed than a query can tell quickly.
const OPEN_MAX: i64 = 10_000;

impl Databases {
    pub async fn connect(urls: &BTreeMap<String, String>) -> Result<Self> {
        let mut connections = BTreeMap::new();
        for (service, url) in urls {
            let options: PgConnectOptions = url.parse()?;
            let place = format!("{}:{}", options.get_host(), options.get_port());
            let connected = PgConnection::connect_with(&options).await.with_context(|| {
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

    pub async fn pulse(&mut self) -> Result<Pulse> {
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
        let order = self.of("order")?;
        pulse.open = sqlx::query_scalar(
            "SELECT id
             FROM orders
             WHERE outcome IS NULL
             ORDER BY id
             LIMIT $1",
        )
        .bind(OPEN_MAX)
        .fetch_all(&mut *order)
        .await?;
        let facts =
            sqlx::query_scalar("SELECT COALESCE(SUM(jsonb_array_length(facts)), 0) FROM orders")
                .fetch_one(order)
                .await?;
        pulse.counts.insert("facts".into(), facts);
        Ok(pulse)
    }

    pub async fn read(&mut self, snapshot: &mut Snapshot) -> Result<()> {
        for (service, connection) in &mut self.connections {
            begin(connection).await?;
            match service.as_str() {
                "order" => orders(connection, snapshot).await?,
                "payment" => payments(connection, snapshot).await?,
                "inventory" => stock(connection, snapshot).await?,
                "shipping" => shipments(connection, snapshot).await?,
                _ => {}
            }
            snapshot.handled.insert(service.clone(), handled(connection).await?);
            snapshot.outboxes.insert(service.clone(), outbox(connection).await?);
            snapshot.purged.extend(purged(connection).await?);
            snapshot.repaired.extend(repaired(connection).await?);
            sqlx::query("COMMIT").execute(&mut *connection).await?;
        }
        Ok(())
    }

    /// Dead letters that were purged, each in the database of the service that was to hear it. What
    /// that has handled all the same is not missed.
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

    /// The service in whose database a queue's dead letters are accounted for; those of nobody that
    /// is known are order's.
    pub fn keeper(&self, queue: &str) -> &str {
        let service = queue.split('.').next().unwrap_or_default();
        self.connections.get_key_value(service).map_or("order", |(known, _)| known)
    }

    pub fn of(&mut self, service: &str) -> Result<&mut PgConnection> {
        self.connections.get_mut(service).with_context(|| format!("no database of {service}"))
    }
}

/// A connection that broke half-way is not used again, so no transaction is left open for others.
async fn begin(connection: &mut PgConnection) -> Result<()> {
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
    sqlx::query(begin).execute(connection).await?;
    Ok(())
}

/// A state that this program does not know is nothing that it can check.
fn status<T: std::str::FromStr<Err = String>>(text: &str) -> Result<T> {
    text.parse().map_err(|why| anyhow!("{why}: is this `saga` as new as the services?"))
}

#[derive(FromRow)]
struct FactRow {
    order_id: OrderId,
    event: String,
    event_id: EventId,
    caused_by: Option<EventId>,
    reason: Option<String>,
    amount: Option<Decimal>,
}

async fn orders(connection: &mut PgConnection, snapshot: &mut Snapshot) -> Result<()> {
    let mut places = HashMap::new();
    let mut rows =
        sqlx::query_as("SELECT id, status, total_amount FROM orders").fetch(&mut *connection);
    while let Some((id, state, total)) = rows.try_next().await? {
        let state: String = state;
        places.insert(id, snapshot.orders.len());
        snapshot.orders.push(Order { id, status: status(&state)?, total, facts: Vec::new() });
    }
    drop(rows);
    let mut rows = sqlx::query_as(
        "SELECT id AS order_id, event, event_id, caused_by, detail ->> 'reason' AS reason,
             CASE WHEN event LIKE 'payment.%' THEN (detail ->> 'amount')::NUMERIC END AS amount
         FROM orders,
             jsonb_to_recordset(facts)
                 AS fact (event TEXT, event_id UUID, caused_by UUID, detail JSONB)",
    )
    .fetch(connection);
    while let Some(FactRow { order_id, event, event_id, caused_by, reason, amount }) =
        rows.try_next().await?
    {
        let fact = Fact { event: name(&event), event_id, caused_by, reason, amount };
        if let Some(place) = places.get(&order_id) {
            snapshot.orders[*place].facts.push(fact);
        }
    }
    Ok(())
}

#[derive(FromRow)]
struct PaymentRow {
    order_id: OrderId,
    status: String,
    amount: Decimal,
    attempts: i32,
    provider_ref: Option<String>,
    refund_ref: Option<String>,
}

async fn payments(connection: &mut PgConnection, snapshot: &mut Snapshot) -> Result<()> {
    let mut rows = sqlx::query_as(
        "SELECT order_id, status, amount, attempts, provider_ref, refund_ref
         FROM payments",
    )
    .fetch(connection);
    while let Some(row) = rows.try_next().await? {
        let PaymentRow { order_id, status: state, amount, attempts, provider_ref, refund_ref } =
            row;
        let attempts = u32::try_from(attempts).unwrap_or(0);
        let status = status(&state)?;
        let payment = Payment { order_id, status, amount, attempts, provider_ref, refund_ref };
        snapshot.payments.push(payment);
    }
    Ok(())
}

async fn stock(connection: &mut PgConnection, snapshot: &mut Snapshot) -> Result<()> {
    let products: Vec<(ProductId, i64, i64)> =
        sqlx::query_as("SELECT id, quantity_total, quantity_reserved FROM products")
            .fetch_all(&mut *connection)
            .await?;
    let products =
        products.into_iter().map(|(id, total, reserved)| Product { id, total, reserved });
    snapshot.products.extend(products);

    let mut rows = sqlx::query_as(
        "SELECT order_id, status, ARRAY_REMOVE(ARRAY_AGG(product_id), NULL),
             ARRAY_REMOVE(ARRAY_AGG(quantity), NULL)
         FROM reservations LEFT JOIN reservation_items USING (order_id)
         GROUP BY order_id, status",
    )
    .fetch(&mut *connection);
    while let Some((order_id, state, products, quantities)) = rows.try_next().await? {
        let (state, products, quantities): (String, Vec<ProductId>, Vec<i64>) =
            (state, products, quantities);
        let items = products.into_iter().zip(quantities).collect();
        snapshot.reservations.push(Reservation { order_id, status: status(&state)?, items });
    }
    drop(rows);
    snapshot.refusals =
        sqlx::query_scalar("SELECT order_id FROM refusals").fetch_all(connection).await?;
    Ok(())
}

async fn shipments(connection: &mut PgConnection, snapshot: &mut Snapshot) -> Result<()> {
    let mut rows = sqlx::query_as("SELECT order_id, status, tracking_code FROM shipments")
        .fetch(&mut *connection);
    while let Some((order_id, state, tracking_code)) = rows.try_next().await? {
        let state: String = state;
        snapshot.shipments.push(Shipment { order_id, status: status(&state)?, tracking_code });
    }
    drop(rows);
    snapshot.cancel_marks =
        sqlx::query_scalar("SELECT order_id FROM cancel_marks").fetch_all(connection).await?;
    Ok(())
}

async fn handled(connection: &mut PgConnection) -> Result<Vec<Handled>> {
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

async fn outbox(connection: &mut PgConnection) -> Result<Vec<Unsent>> {
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

async fn purged(connection: &mut PgConnection) -> Result<Vec<DeadLetter>> {
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

async fn repaired(connection: &mut PgConnection) -> Result<Vec<Repair>> {
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
