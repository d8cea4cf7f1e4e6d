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
fn unique() -> String {
    format!("test_{}", uuid::Uuid::now_v7().simple())
}

/// On a server of the caller's, given by the URL of one of its databases.
pub async fn throwaway_url_on(server: &str) -> String {
    let name = unique();
    create(&mut connect(server).await, &name, "template1").await;
    url_of(server, &name)
}

/// A copy of the original of this name, which the first who wants one on this server prepares.
pub async fn copy_on(server: &str, original: &str, prepare: impl AsyncFnOnce(String)) -> String {
    let mut connection = connect(server).await;
    // Each test is a process of its own: the others wait here for the first.
    let lock = sqlx::query("SELECT pg_advisory_lock(hashtext($1))").bind(original);
    lock.execute(&mut connection).await.expect("a lock");
    let exists = "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)";
    let exists = sqlx::query_scalar(exists).bind(original).fetch_one(&mut connection).await;
    let exists: bool = exists.expect("the databases can be listed");
    if !exists {
        let half_made = unique();
        create(&mut connection, &half_made, "template1").await;
        prepare(url_of(server, &half_made)).await;
        // Only what is complete has the name.
        run(&mut connection, &format!("ALTER DATABASE {half_made} RENAME TO {original}")).await;
    }
    run(&mut connection, "SELECT pg_advisory_unlock_all()").await;
    let name = unique();
    create(&mut connection, &name, original).await;
    url_of(server, &name)
}

async fn connect(server: &str) -> PgConnection {
    PgConnection::connect(server).await.expect("the test set-up's Postgres answers")
}

/// Copies the template's files: that costs less than to write each page into the log.
async fn create(connection: &mut PgConnection, name: &str, template: &str) {
    let create = format!("CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy");
    run(connection, &create).await;
}

async fn run(connection: &mut PgConnection, statement: &str) {
    let done = sqlx::query(AssertSqlSafe(statement)).execute(connection).await;
    done.unwrap_or_else(|why| panic!("{statement}: {why}"));
}

fn url_of(server: &str, database: &str) -> String {
    let (place, parameters) = server.split_at(server.find('?').unwrap_or(server.len()));
    let (stem, _) = place.rsplit_once('/').expect("the URL has a database");
    format!("{stem}/{database}{parameters}")
}
