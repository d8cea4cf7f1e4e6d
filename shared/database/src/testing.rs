//! A database a test, on the server that the test set-up has started.

use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool, postgres::PgConnectOptions};
use std::{env, str::FromStr};
use uuid::Uuid;

/// Where the test set-up says its Postgres is.
pub const TEST_POSTGRES_URL: &str = "TEST_POSTGRES_URL";

/// A new, empty database. It goes with the server, which goes with the test run.
pub async fn throwaway() -> PgPool {
    super::pool(&throwaway_url().await, "test", 10).expect("the URL was made here")
}

pub async fn throwaway_url() -> String {
    let server = env::var(TEST_POSTGRES_URL).unwrap_or_else(|_| {
        panic!("{TEST_POSTGRES_URL} is not set: run `make test`, or `saga with-servers -- cargo test …`")
    });
    let mut connection = PgConnection::connect(&server)
        .await
        .expect("the test set-up's Postgres answers");
    let name = format!("test_{}", Uuid::now_v7().simple());
    sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}")))
        .execute(&mut connection)
        .await
        .expect("a new database can be made");
    let options = PgConnectOptions::from_str(&server).expect("the URL was just used");
    let known = options.get_database().unwrap_or("postgres");
    let stem = server
        .strip_suffix(known)
        .expect("the test URL ends in its database");
    format!("{stem}{name}")
}
