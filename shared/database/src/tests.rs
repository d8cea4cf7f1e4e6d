//! Tests of connections: kept, lent, abandoned half-way; and on a link that goes silent.

use crate::{
    Limits, PgConnection, PgPool, Session,
    idle::IDLE_MAX,
    testing::{Link, throwaway, throwaway_url},
};
use sqlx::{AssertSqlSafe, Connection};
use std::{collections::HashSet, time::Duration};
use tokio::{
    task::{JoinSet, yield_now},
    time::{Instant, timeout},
};

mod copies;

const DEADLINE: Duration = Duration::from_secs(5);

/// A pool whose link can go silent, with its link and one that goes another way.
async fn linked() -> (PgPool, Link, PgPool) {
    let url = throwaway_url().await;
    let link = Link::to(&url).await;
    let pool = |url: &str| PgPool::new(url, "test", 8, Limits::new(DEADLINE)).unwrap();
    (pool(&link.url(&url)), link, pool(&url))
}

async fn backend(connection: &mut PgConnection) -> i32 {
    sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(connection).await.unwrap()
}

async fn writer(session: &Session) -> Result<i32, sqlx::Error> {
    let found: Vec<(i32,)> = session.query("SELECT pg_backend_pid()").rows().await?;
    Ok(found[0].0)
}

async fn run(pool: &PgPool, statement: &'static str) -> Result<i32, sqlx::Error> {
    let tx = pool.begin().await?;
    tx.query(statement).run();
    let pid = writer(&tx).await?;
    tx.commit().await?;
    Ok(pid)
}

async fn transact(pool: &PgPool, statement: &'static str) -> i32 {
    run(pool, statement).await.unwrap()
}

async fn count(pool: &PgPool) -> i64 {
    sqlx::query_scalar("SELECT COUNT(*) FROM notes").fetch_one(pool).await.unwrap()
}

/// Like a server that shuts down.
async fn end(pool: &PgPool, backend: i32) {
    let ended: bool = sqlx::query_scalar("SELECT pg_terminate_backend($1, 5000)")
        .bind(backend)
        .fetch_one(pool)
        .await
        .unwrap();
    assert!(ended);
}

/// It fails by the deadline, and not long after it.
async fn is_late<T>(work: impl Future<Output = Result<T, sqlx::Error>>) {
    let began = Instant::now();
    let why = work.await.err().expect("nothing came through");
    assert!(why.to_string().contains("the database is silent"), "{why}");
    assert!(began.elapsed() < DEADLINE * 3, "after {:?}", began.elapsed());
}

#[tokio::test]
async fn a_connection_is_kept_until_it_is_lost() {
    let pool = throwaway().await;
    let first = transact(&pool, "CREATE TABLE notes (id INTEGER)").await;
    assert_eq!(transact(&pool, "INSERT INTO notes VALUES (1)").await, first);
    end(&pool, first).await;
    let next = transact(&pool, "INSERT INTO notes VALUES (2)").await;
    assert_ne!(next, first);
    assert_eq!(transact(&pool, "INSERT INTO notes VALUES (3)").await, next);
}

#[tokio::test]
async fn only_what_is_written_is_planned_for_good() {
    let pool = throwaway().await;
    transact(&pool, "CREATE TABLE notes (id INTEGER PRIMARY KEY)").await;
    let tx = pool.begin().await.unwrap();
    for count in 1..10 {
        let ids: Vec<i32> = (0..count).collect();
        tx.query("DELETE FROM notes WHERE id = ANY($1)").bind(ids).run();
    }
    let plans = "SELECT generic_plans, custom_plans
                 FROM pg_prepared_statements
                 WHERE statement LIKE 'DELETE%'";
    let plans: Vec<(i64, i64)> = tx.query(plans).rows().await.unwrap();
    assert_eq!(plans, [(9, 0)]);
    tx.commit().await.unwrap();
    let mode: String = sqlx::query_scalar("SHOW plan_cache_mode").fetch_one(&pool).await.unwrap();
    assert_eq!(mode, "auto");
}

#[tokio::test]
async fn a_statement_finds_a_server_that_came_back() {
    let pool = throwaway().await;
    let asked = async || writer(&pool.statement().await.unwrap()).await.unwrap();
    let first = asked().await;
    assert_eq!(asked().await, first);
    end(&pool, first).await;
    assert_ne!(asked().await, first);
}

#[tokio::test]
async fn connections_are_renewed() {
    let pool = throwaway().await;
    let first = transact(&pool, "SELECT 1").await;
    let read = backend(&mut pool.acquire().await.unwrap()).await;
    pool.idle().later(IDLE_MAX);
    assert_ne!(transact(&pool, "SELECT 1").await, first);
    assert_ne!(backend(&mut pool.acquire().await.unwrap()).await, read);
}

#[tokio::test]
async fn a_reader_that_was_left_in_the_middle_is_kept_when_it_has_come_to_an_end() {
    let pool = throwaway().await;
    let mut reading = pool.acquire().await.unwrap();
    let first = backend(&mut reading).await;
    let sleep = sqlx::query("SELECT pg_sleep(2)").execute(&mut reading);
    assert!(timeout(Duration::from_millis(100), sleep).await.is_err());
    drop(reading);
    while pool.idle().reading.count() == 0 {
        yield_now().await;
    }
    assert_eq!(backend(&mut pool.acquire().await.unwrap()).await, first);
}

#[tokio::test]
async fn a_writer_that_was_left_in_the_middle_is_closed() {
    let pool = throwaway().await;
    transact(&pool, "CREATE TABLE notes (id INTEGER)").await;
    let tx = pool.begin().await.unwrap();
    tx.query("INSERT INTO notes VALUES (1)").run();
    let first = writer(&tx).await.unwrap();
    tx.query("SELECT pg_sleep(2)").run();
    assert!(timeout(Duration::from_millis(100), tx.flush()).await.is_err());
    drop(tx);
    assert_ne!(transact(&pool, "LOCK TABLE notes").await, first);
    assert_eq!(count(&pool).await, 0);
}

#[tokio::test]
async fn a_transaction_that_is_dropped_keeps_its_connection() {
    let pool = throwaway().await;
    let untouched = pool.begin().await.unwrap();
    drop(untouched);
    assert_eq!(pool.idle().writing.count(), 1);
    let tx = pool.begin().await.unwrap();
    let first = writer(&tx).await.unwrap();
    drop(tx);
    while pool.idle().writing.count() == 0 {
        yield_now().await;
    }
    assert_eq!(transact(&pool, "SELECT 1").await, first);
}

#[tokio::test]
async fn what_is_dropped_never_happened() {
    let pool = throwaway().await;
    transact(&pool, "CREATE TABLE notes (id INTEGER)").await;
    let dropped = pool.begin().await.unwrap();
    dropped.query("INSERT INTO notes VALUES (1)").done().await.unwrap();
    drop(dropped);
    // Waits for other locks on the table.
    transact(&pool, "LOCK TABLE notes").await;
    assert_eq!(count(&pool).await, 0);
}

#[tokio::test]
async fn half_of_the_connections_are_for_those_who_read() {
    let pool = throwaway().await;
    let half = pool.connections_max() / 2;
    let (mut held, mut first) = (Vec::new(), HashSet::new());
    for _ in 0..half {
        let tx = pool.begin().await.unwrap();
        first.insert(writer(&tx).await.unwrap());
        held.push(tx);
    }
    assert_eq!(first.len(), half as usize);
    // Many more than there is room for: each waits its turn, and finds the previous one's
    // connection.
    let mut writers = JoinSet::new();
    for _ in 0..half * 20 {
        let pool = pool.clone();
        writers.spawn(async move { transact(&pool, "SELECT 1").await });
    }
    for tx in held {
        tx.commit().await.unwrap();
    }
    let backends: HashSet<i32> = writers.join_all().await.into_iter().collect();
    assert!(backends.is_subset(&first), "{backends:?} of {first:?}");
    let mut readers = Vec::new();
    for _ in 0..half {
        readers.push(pool.acquire().await.unwrap());
    }
}

#[tokio::test]
async fn a_statement_on_a_silent_link_is_late_and_the_next_one_has_another_connection() {
    let (pool, link, other) = linked().await;
    transact(&pool, "CREATE TABLE notes (id INTEGER)").await;
    let mut reading = pool.acquire().await.unwrap();
    let tx = pool.begin().await.unwrap();
    let first = writer(&tx).await.unwrap();
    link.silence();
    is_late(sqlx::query("SELECT 1").execute(&mut reading)).await;
    let why = sqlx::query("SELECT 1").execute(&mut reading).await.unwrap_err();
    assert!(why.to_string().contains("thrown away"), "{why}");
    tx.query("INSERT INTO notes VALUES (1)").run();
    is_late(tx.flush()).await;
    // It is gone for good, and says so at once.
    let why = writer(&tx).await.unwrap_err();
    assert!(why.to_string().contains("has failed"), "{why}");
    drop((tx, reading));
    assert_ne!(transact(&pool, "INSERT INTO notes VALUES (2)").await, first);
    assert_eq!(count(&other).await, 1);
}

#[tokio::test]
async fn a_commit_on_a_silent_link_is_late_and_what_it_held_is_free_soon() {
    let (pool, link, _other) = linked().await;
    transact(&pool, "CREATE TABLE notes (id INTEGER)").await;
    let tx = pool.begin().await.unwrap();
    tx.query("LOCK TABLE notes").done().await.unwrap();
    link.silence();
    is_late(tx.commit()).await;
    let began = Instant::now();
    while run(&pool, "INSERT INTO notes VALUES (1)").await.is_err() {
        assert!(began.elapsed() < DEADLINE * 3, "still locked");
    }
    assert_eq!(count(&pool).await, 1);
}

#[tokio::test]
async fn idle_connections_that_are_silent_hold_nobody_up() {
    let (pool, link, _other) = linked().await;
    transact(&pool, "CREATE TABLE notes (id INTEGER)").await;
    // As many as there can be, of both kinds.
    let mut busy = Vec::new();
    for _ in 0..4 {
        busy.push((pool.acquire().await.unwrap(), pool.statement().await.unwrap()));
    }
    drop(busy);
    link.silence();
    pool.idle().later(Duration::from_secs(1));
    let began = Instant::now();
    transact(&pool, "INSERT INTO notes VALUES (1)").await;
    assert_eq!(count(&pool).await, 1);
    // One of them was waited for, not each.
    assert!(began.elapsed() < DEADLINE, "after {:?}", began.elapsed());
}

#[tokio::test]
async fn neither_a_connection_nor_a_transaction_is_waited_for_without_an_end() {
    let (pool, link, _other) = linked().await;
    link.cut();
    is_late(pool.acquire()).await;
    is_late(async { pool.begin().await.map(|_| ()) }).await;
    is_late(sqlx::query("SELECT 1").execute(&pool)).await;
    link.mend();
    transact(&pool, "SELECT 1").await;
}

/// As on a busy machine, where TLS and a login take longer than any of those who ask.
#[tokio::test]
async fn a_connection_that_takes_longer_than_those_who_ask_wait_is_there_in_the_end() {
    let (pool, link, _other) = linked().await;
    link.slow(DEADLINE);
    let began = Instant::now();
    let in_the_end = |done: bool| {
        assert!(done || began.elapsed() < DEADLINE * 10, "each begins anew");
        !done
    };
    // One that writes is late; one that reads has gone earlier, and so have those beside it.
    while in_the_end(run(&pool, "SELECT 1").await.is_ok()) {}
    let gone = || timeout(DEADLINE / 20, pool.acquire());
    while in_the_end(tokio::join!(gone(), gone(), gone()).0.is_ok()) {}
}

#[tokio::test]
async fn who_waits_while_a_connection_is_opened_has_one_that_is_returned() {
    let url = throwaway_url().await;
    let link = Link::to(&url).await;
    let pool = PgPool::new(link.url(&url), "test", 8, Limits::DEFAULT).unwrap();
    let tx = pool.begin().await.unwrap();
    let first = writer(&tx).await.unwrap();
    link.slow(Duration::MAX);
    let opening = timeout(DEADLINE / 20, pool.begin());
    assert!(opening.await.is_err(), "nothing comes through");
    let (next, ()) = tokio::join!(pool.begin(), async { drop(tx) });
    assert_eq!(writer(&next.unwrap()).await.unwrap(), first);
}

#[tokio::test]
async fn a_transaction_that_is_dropped_on_a_silent_link_gives_its_room_back() {
    let (pool, link, other) = linked().await;
    transact(&pool, "CREATE TABLE notes (id INTEGER)").await;
    for _ in 0..3 {
        let mut all = Vec::new();
        for _ in 0..4 {
            let tx = pool.begin().await.unwrap();
            tx.query("INSERT INTO notes VALUES (1)").done().await.unwrap();
            all.push(tx);
        }
        link.silence();
        drop(all);
        // None of these is one of those.
        let began = Instant::now();
        while run(&pool, "SELECT 1").await.is_err() {
            assert!(began.elapsed() < DEADLINE * 3, "no room");
        }
    }
    transact(&other, "LOCK TABLE notes").await;
    assert_eq!(count(&other).await, 0);
}

#[tokio::test]
async fn nothing_is_lost_after_a_transaction_that_was_dropped_half_begun() {
    let pool = throwaway().await;
    transact(&pool, "CREATE TABLE notes (id INTEGER)").await;
    for delay in 0..50 {
        let begun = async { pool.begin().await?.flush().await };
        let _ = timeout(Duration::from_micros(delay * 20), begun).await;
        let writing = pool.statement().await.unwrap();
        writing.query("INSERT INTO notes VALUES (1)").done().await.unwrap();
    }
    assert_eq!(count(&pool).await, 50);
}

/// Makes a database take no writes, like a standby, or take them again.
async fn protect(url: &str, is_read_only: bool) {
    let (server, name) = url.rsplit_once('/').unwrap();
    let mut other = sqlx::PgConnection::connect(&format!("{server}/postgres")).await.unwrap();
    let set = format!("ALTER DATABASE {name} SET default_transaction_read_only = {is_read_only}");
    sqlx::query(AssertSqlSafe(set)).execute(&mut other).await.unwrap();
}

#[tokio::test]
async fn a_standby_is_not_used_and_its_promotion_is_waited_for() {
    let url = throwaway_url().await;
    protect(&url, true).await;
    let pool = PgPool::new(&url, "test", 4, Limits::new(DEADLINE)).unwrap();
    let why = run(&pool, "CREATE TABLE notes (id INTEGER)").await.unwrap_err().to_string();
    assert!(why.contains("it takes no writes: it is a standby"), "{why}");
    assert!(pool.acquire().await.is_err());
    let (ran, ()) =
        tokio::join!(run(&pool, "CREATE TABLE notes (id INTEGER)"), protect(&url, false));
    ran.unwrap();
}

#[tokio::test]
async fn a_server_that_becomes_a_standby_is_left() {
    // One writer: the next one has the same connection, if it was kept.
    let pool = PgPool::new(&throwaway_url().await, "test", 1, Limits::DEFAULT).unwrap();
    transact(&pool, "CREATE TABLE notes (id INTEGER)").await;
    transact(&pool, "SET default_transaction_read_only = on").await;
    let why = run(&pool, "INSERT INTO notes VALUES (1)").await.unwrap_err();
    assert!(why.to_string().contains("read-only"), "{why}");
    transact(&pool, "INSERT INTO notes VALUES (1)").await;
}

#[tokio::test]
async fn a_reader_that_is_refused_a_write_leaves_the_server_too() {
    // One reader and one writer, as above.
    let pool = PgPool::new(&throwaway_url().await, "test", 1, Limits::DEFAULT).unwrap();
    transact(&pool, "CREATE TABLE notes (id INTEGER)").await;
    let protect = "SET default_transaction_read_only = on";
    transact(&pool, protect).await;
    sqlx::query(protect).execute(&pool).await.unwrap();
    let insert = || sqlx::query("INSERT INTO notes VALUES (1)").execute(&pool);
    let why = insert().await.unwrap_err();
    assert!(why.to_string().contains("read-only"), "{why}");
    insert().await.unwrap();
    transact(&pool, "INSERT INTO notes VALUES (1)").await;
}

#[tokio::test]
async fn a_dead_host_is_passed_over_and_so_is_a_silent_one() {
    let url = throwaway_url().await;
    let (first, other) = (Link::to(&url).await, Link::to(&url).await);
    let second = other.url(&url);
    let second = second.rsplit_once('@').unwrap().1.split_once('/').unwrap().0;
    let hosts = first.url(&url).replace('@', &format!("@127.0.0.1:1,{second},"));
    let pool = PgPool::new(&hosts, "test", 4, Limits::new(DEADLINE)).unwrap();
    transact(&pool, "CREATE TABLE notes (id INTEGER)").await;
    first.cut();
    // Whichever of the two was chosen.
    let _ = run(&pool, "INSERT INTO notes VALUES (1)").await;
    transact(&pool, "INSERT INTO notes VALUES (1)").await;
}
