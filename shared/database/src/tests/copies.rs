//! Tests of databases that are copied from one that is prepared once.

use crate::testing::{TEST_POSTGRES_URL, copy_on, throwaway_url};
use futures::FutureExt;
use sqlx::{Connection, Executor, PgConnection};
use std::{
    env,
    panic::AssertUnwindSafe,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
};

/// A name that no other test uses.
async fn original() -> String {
    let url = throwaway_url().await;
    format!("original_of_{}", url.rsplit_once('/').unwrap().1)
}

async fn run(url: &str, statement: &'static str) -> u64 {
    let mut connection = PgConnection::connect(url).await.unwrap();
    connection.execute(statement).await.unwrap().rows_affected()
}

#[tokio::test]
async fn the_first_prepares_it_and_each_has_a_copy_of_its_own() {
    let (server, original) = (env::var(TEST_POSTGRES_URL).unwrap(), original().await);
    let prepared = AtomicUsize::new(0);
    let copy = || {
        copy_on(&server, &original, async |url| {
            run(&url, "CREATE TABLE notes AS SELECT 1 AS number").await;
            prepared.fetch_add(1, SeqCst);
        })
    };
    let (one, other) = tokio::join!(copy(), copy());
    assert_eq!(prepared.load(SeqCst), 1);
    assert_eq!(run(&one, "DELETE FROM notes").await, 1);
    assert_eq!(run(&other, "DELETE FROM notes").await, 1);
    assert_eq!(run(&copy().await, "DELETE FROM notes").await, 1);
}

#[tokio::test]
async fn one_who_fails_to_prepare_it_leaves_that_to_the_next() {
    let (server, original) = (env::var(TEST_POSTGRES_URL).unwrap(), original().await);
    let failing = copy_on(&server, &original, async |url| {
        run(&url, "CREATE TABLE notes ()").await;
        panic!("on purpose");
    });
    assert!(AssertUnwindSafe(failing).catch_unwind().await.is_err());
    let copy = copy_on(&server, &original, async |url| {
        run(&url, "CREATE TABLE notes ()").await;
    });
    assert_eq!(run(&copy.await, "DELETE FROM notes").await, 0);
}
