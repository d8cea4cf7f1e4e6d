#![doc = include_str!("../README.md")]

mod backoff;
mod connection;
mod encryption;
mod erased;
mod failure;
mod hosts;
mod idle;
mod limits;
mod migrate;
mod plain;
mod pool;
mod row;
mod session;
mod statement;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(all(test, feature = "testing"))]
mod tests;
mod wire;

use uuid::Uuid;

pub use backoff::Backoff;
pub use connection::PgConnection;
pub use failure::{Failure, hopeless, is_value};
pub use limits::Limits;
pub use migrate::migrate;
pub use plain::PlainConnection;
pub use pool::PgPool;
pub use row::{Column, FromRow, Row};
pub use session::{Query, Session, Transaction};

/// Locks these orders until the transaction ends. Takes the locks in order, so that two batches
/// never deadlock; works where no row exists yet.
pub fn lock_orders(tx: &Session, orders: &[Uuid]) {
    tx.query("SELECT pg_advisory_xact_lock(key) FROM UNNEST($1::BIGINT[]) AS key")
        .bind(lock_keys(orders.iter().copied()))
        .run();
}

/// What `lock_orders` locks, each once and in order.
fn lock_keys(orders: impl Iterator<Item = Uuid>) -> Vec<i64> {
    let mut keys: Vec<i64> = orders.map(lock_key).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// The random half of the id. Two orders with the same key only wait for each other.
fn lock_key(order: Uuid) -> i64 {
    order.as_u64_pair().1.cast_signed()
}
