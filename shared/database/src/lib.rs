//! Postgres as the services use it: a pool that gives up on locks in time, migrations that several
//! replicas may run at once, and the one distinction that matters when a statement fails.

mod failure;
mod migrate;
#[cfg(feature = "testing")]
pub mod testing;
mod together;
mod transaction;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use std::{str::FromStr, time::Duration};
use uuid::Uuid;

pub use failure::{Failure, hopeless};
pub use migrate::migrate;
pub use sqlx::{PgConnection, PgPool};
pub use together::Written;
pub use transaction::{Transaction, Transactions, Writing};

/// Limits that make a stuck statement an error that is tried again, rather than a stuck service.
/// And plans that always go by an index: Postgres keeps the plan of a prepared statement, and one
/// made while a table is new and empty would read all of it again and again as it grows.
const SESSION: [(&str, &str); 6] = [
    ("enable_seqscan", "off"),
    // What must read a whole table all the same looks so dear then that it would be compiled first.
    ("jit", "off"),
    ("lock_timeout", "5s"),
    ("statement_timeout", "30s"),
    ("idle_in_transaction_session_timeout", "60s"),
    ("synchronous_commit", "on"),
];

/// A pool that connects when first asked: waiting for the database is the caller's to show.
pub fn pool(url: &str, name: &str, connections_max: u32) -> Result<PgPool, sqlx::Error> {
    // sqlx takes any scheme for Postgres.
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        return Err(sqlx::Error::Configuration("it does not begin with postgres://".into()));
    }
    let options = PgConnectOptions::from_str(url)?.application_name(name).options(SESSION);
    Ok(PgPoolOptions::new()
        .max_connections(connections_max)
        .acquire_timeout(Duration::from_secs(5))
        .test_before_acquire(false)
        .connect_lazy_with(options))
}

/// Makes this transaction the only one that works on these orders until it ends. Takes the locks in
/// order, so that two batches never wait for each other; works where no row exists yet.
pub async fn lock_orders(connection: &mut PgConnection, orders: &[Uuid]) -> Result<(), Failure> {
    sqlx::query("SELECT pg_advisory_xact_lock(key) FROM UNNEST($1::BIGINT[]) AS key")
        .bind(lock_keys(orders.iter().copied()))
        .execute(connection)
        .await?;
    Ok(())
}

/// What `lock_orders` locks, each once and in order.
pub fn lock_keys(orders: impl Iterator<Item = Uuid>) -> Vec<i64> {
    let mut keys: Vec<i64> = orders.map(lock_key).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// The random half of the id. Two orders with the same key only wait for each other.
fn lock_key(order: Uuid) -> i64 {
    order.as_u64_pair().1.cast_signed()
}
