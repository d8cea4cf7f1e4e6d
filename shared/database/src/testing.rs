//! Creates one database per test, on the server that the test set-up has started.

mod link;

use crate::{Limits, PgPool};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use std::env;

pub use link::Link;

/// The URL of the Postgres that the test set-up has started.
pub const TEST_POSTGRES_URL: &str = "TEST_POSTGRES_URL";

/// A new, empty database. It is removed with the server, at the end of the test run.
pub async fn throwaway() -> PgPool {
    PgPool::new(&throwaway_url().await, "test", 10, Limits::DEFAULT).expect("the URL was made here")
}

pub async fn throwaway_url() -> String {
    let server = env::var(TEST_POSTGRES_URL).unwrap_or_else(|_| {
        panic!(
            "{TEST_POSTGRES_URL} is not set: run `make test`, or `lab with-servers -- cargo test …`"
        )
    });
    throwaway_url_on(&server).await
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test database is nobody's business but its test's"
)]
fn unique() -> uuid::fmt::Simple {
    uuid::Uuid::now_v7().simple()
}

/// On a server of the caller's, given by the URL of one of its databases.
pub async fn throwaway_url_on(server: &str) -> String {
    let mut connection =
        PgConnection::connect(server).await.expect("the test set-up's Postgres answers");
    let name = format!("test_{}", unique());
    sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}")))
        .execute(&mut connection)
        .await
        .expect("a new database can be made");
    let (place, parameters) = server.split_at(server.find('?').unwrap_or(server.len()));
    let (stem, _) = place.rsplit_once('/').expect("the URL has a database");
    format!("{stem}/{name}{parameters}")
}
