//! Steps of the saga as the peers share them: each is one statement in its service's database,
//! with a row for what was done by order id, so that a repetition changes nothing.

use std::env;

use serde::{Deserialize, Serialize};
use sqlx::postgres::PgPoolOptions;
use sqlx::{PgExecutor, PgPool, Result, query, query_scalar};
use uuid::Uuid;

/// The provider declines what costs more.
const AMOUNT_MAX: i64 = 100_000;
/// Connections to each database. It takes 200.
const CONNECTIONS: u32 = 32;

/// `lab peers` orders products 0 to 999; 1000 is sold out.
const TABLES: [(&str, &str); 4] = [
    (
        "order",
        "CREATE TABLE IF NOT EXISTS orders (
             id       UUID PRIMARY KEY,
             product  INT NOT NULL,
             quantity BIGINT NOT NULL,
             amount   BIGINT NOT NULL,
             status   TEXT NOT NULL DEFAULT 'PENDING'
         )",
    ),
    (
        "payment",
        "CREATE TABLE IF NOT EXISTS charges (
             order_id UUID PRIMARY KEY,
             amount   BIGINT NOT NULL,
             status   TEXT NOT NULL
         )",
    ),
    (
        "inventory",
        "CREATE TABLE IF NOT EXISTS stock (
             product   INT PRIMARY KEY,
             available BIGINT NOT NULL CHECK (available >= 0)
         ) WITH (fillfactor = 50);
         CREATE TABLE IF NOT EXISTS reservations (
             order_id UUID PRIMARY KEY,
             product  INT NOT NULL,
             quantity BIGINT NOT NULL
         );
         INSERT INTO stock
         SELECT product, CASE WHEN product < 1000 THEN 1000000000 ELSE 0 END
         FROM generate_series(0, 1000) AS product
         ON CONFLICT DO NOTHING",
    ),
    ("shipping", "CREATE TABLE IF NOT EXISTS shipments (order_id UUID PRIMARY KEY)"),
];

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Order {
    pub order_id: Uuid,
    pub product: i32,
    pub quantity: i64,
    pub amount: i64,
}

/// All four, for a peer that runs the saga in one process.
#[derive(Clone)]
pub struct Databases {
    pub order: PgPool,
    pub payment: PgPool,
    pub inventory: PgPool,
    pub shipping: PgPool,
}

impl Databases {
    pub async fn open() -> Result<Self> {
        let [order, payment] = [open("order").await?, open("payment").await?];
        let [inventory, shipping] = [open("inventory").await?, open("shipping").await?];
        Ok(Self { order, payment, inventory, shipping })
    }
}

/// Connects to a service's database, and makes its tables.
pub async fn open(service: &str) -> Result<PgPool> {
    // Without a ping each time a connection is taken.
    let options = PgPoolOptions::new().max_connections(CONNECTIONS).test_before_acquire(false);
    let pool = options.connect(&setting(&database(service))).await?;
    for (_, tables) in TABLES.iter().filter(|(name, _)| *name == service) {
        sqlx::raw_sql(*tables).execute(&pool).await?;
    }
    Ok(pool)
}

/// The variable with a service's database: `ORDER_DATABASE_URL`.
pub fn database(service: &str) -> String {
    format!("{}_DATABASE_URL", service.to_uppercase())
}

pub fn setting(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("{name} is not set: `lab peers` sets it"))
}

pub async fn place(db: impl PgExecutor<'_>, order: &Order) -> Result<()> {
    let Order { order_id, product, quantity, amount } = order;
    query("INSERT INTO orders VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING")
        .bind(order_id)
        .bind(product)
        .bind(quantity)
        .bind(amount)
        .execute(db)
        .await
        .map(drop)
}

/// Whether the provider approves.
pub async fn charge(db: impl PgExecutor<'_>, order: &Order) -> Result<bool> {
    let is_approved = order.amount <= AMOUNT_MAX;
    query("INSERT INTO charges VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
        .bind(order.order_id)
        .bind(order.amount)
        .bind(if is_approved { "APPROVED" } else { "DECLINED" })
        .execute(db)
        .await?;
    Ok(is_approved)
}

pub async fn refund(db: impl PgExecutor<'_>, order: &Order) -> Result<()> {
    let refund = query("UPDATE charges SET status = 'REFUNDED' WHERE order_id = $1");
    refund.bind(order.order_id).execute(db).await.map(drop)
}

/// Whether there was enough in stock.
pub async fn reserve(db: impl PgExecutor<'_>, order: &Order) -> Result<bool> {
    query_scalar(
        "WITH earlier AS (
             SELECT order_id FROM reservations WHERE order_id = $1
         ), taken AS (
             UPDATE stock SET available = available - $3
             WHERE product = $2 AND available >= $3 AND NOT EXISTS (SELECT FROM earlier)
             RETURNING product
         ), reserved AS (
             INSERT INTO reservations SELECT $1, product, $3 FROM taken
             RETURNING order_id
         )
         SELECT EXISTS (SELECT FROM earlier UNION ALL SELECT FROM reserved)",
    )
    .bind(order.order_id)
    .bind(order.product)
    .bind(order.quantity)
    .fetch_one(db)
    .await
}

pub async fn ship(db: impl PgExecutor<'_>, order: &Order) -> Result<()> {
    let ship = query("INSERT INTO shipments VALUES ($1) ON CONFLICT DO NOTHING");
    ship.bind(order.order_id).execute(db).await.map(drop)
}

/// Gives the order its final status: CONFIRMED, CANCELLED or PAYMENT_FAILED.
pub async fn finish(db: impl PgExecutor<'_>, order: &Order, status: &str) -> Result<()> {
    let finish = query("UPDATE orders SET status = $2 WHERE id = $1 AND status = 'PENDING'");
    finish.bind(order.order_id).bind(status).execute(db).await.map(drop)
}
