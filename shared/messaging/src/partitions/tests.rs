use super::*;
use crate::{Handled, MessageStore, PgMessageStore, Seen, migrations};
use chrono::TimeDelta;
use std::time::Instant;

const MOMENT: TimeDelta = TimeDelta::milliseconds(1);

async fn migrated() -> PgPool {
    let pool = database::testing::throwaway().await;
    database::migrate(&pool, "messaging_schema_history", &migrations()).await.unwrap();
    pool
}

/// Noon of a Sunday.
fn noon() -> DateTime<Utc> {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

fn midnight() -> DateTime<Utc> {
    noon() - TimeDelta::hours(12)
}

/// The id of an event of that time.
fn id(said_at: DateTime<Utc>) -> Uuid {
    let millis = said_at.timestamp_millis().unsigned_abs();
    uuid::Builder::from_unix_timestamp_millis(millis, &[7; 10]).into_uuid()
}

async fn note(pool: &PgPool, said_at: &[DateTime<Utc>]) -> Result<Vec<Seen>, Failure> {
    let message_store = PgMessageStore::new(pool.clone());
    let mut tx = message_store.begin().await?;
    let key = |at: &DateTime<Utc>| Handled {
        event_id: id(*at),
        event: "till.counted",
        order_id: Uuid::nil(),
        digest: vec![0; 16],
    };
    let keys: Vec<_> = said_at.iter().map(key).collect();
    let answers = message_store.insert_inbox(&mut tx, &keys).await?;
    message_store.commit(tx).await?;
    Ok(answers)
}

async fn run(pool: &PgPool, statement: String) {
    let session = pool.statement().await.unwrap();
    session.query(statement).done().await.unwrap();
}

async fn is_known(pool: &PgPool, said_at: DateTime<Utc>) -> bool {
    sqlx::query_scalar("SELECT EXISTS (SELECT FROM idempotency_keys WHERE event_id = $1)")
        .bind(id(said_at))
        .fetch_one(pool)
        .await
        .unwrap()
}

async fn names(pool: &PgPool) -> Vec<String> {
    names_of(INBOX, pool).await
}

async fn names_of(table: Daily, pool: &PgPool) -> Vec<String> {
    let there = table.there(&pool.statement().await.unwrap()).await.unwrap();
    there.into_iter().map(|part| table.name_of(part.last_day())).collect()
}

#[tokio::test]
async fn every_key_has_a_place_and_is_known_there_also_at_the_boundaries() {
    let pool = migrated().await;
    INBOX.make_at(&pool, noon()).await.unwrap();
    let days = TimeDelta::days(7);
    let all = [
        DateTime::UNIX_EPOCH,
        midnight() - MOMENT,
        midnight(),
        noon(),
        midnight() + TimeDelta::days(1) - MOMENT,
        midnight() + TimeDelta::days(1),
        midnight() + TimeDelta::days(1) + days - MOMENT,
    ];
    assert_eq!(note(&pool, &all).await.unwrap(), [Seen::New; 7]);
    assert_eq!(note(&pool, &all).await.unwrap(), [Seen::Before; 7]);
    let today = sqlx::query_scalar::<_, i64>("SELECT COUNT(*) FROM idempotency_keys_20260301");
    assert_eq!(today.fetch_one(&pool).await.unwrap(), 3);
    let beyond = note(&pool, &[midnight() + TimeDelta::days(1) + days]).await;
    assert!(matches!(beyond, Err(Failure::Permanent(_))), "no place, and never handled twice");
}

#[tokio::test]
async fn nothing_is_dropped_before_it_is_refused_everywhere_and_all_is_in_the_end() {
    let pool = migrated().await;
    let retention = Retention::days(3);
    let said = [midnight() - MOMENT, midnight(), noon()];
    INBOX.make_at(&pool, noon()).await.unwrap();
    note(&pool, &said).await.unwrap();
    let mut now = noon();
    while now < noon() + TimeDelta::days(8) {
        INBOX.make_at(&pool, now).await.unwrap();
        INBOX.drop_at(&pool, retention, now).await.unwrap();
        let behind = now - TimeDelta::days(1);
        for at in said.into_iter().filter(|at| retention.check(*at, behind).is_ok()) {
            assert!(is_known(&pool, at).await, "{at} is gone at {now}");
        }
        now += TimeDelta::hours(6);
    }
    for at in said {
        assert!(!is_known(&pool, at).await, "{at} is kept for ever");
    }
    let left = names(&pool).await;
    assert_eq!(left.len(), 12, "three days and a margin, today and a week: {left:?}");
}

#[tokio::test]
async fn history_is_dropped_by_its_own_retention() {
    let pool = migrated().await;
    for table in [INBOX, HISTORY] {
        table.make_at(&pool, noon()).await.unwrap();
    }
    let kept = names(&pool).await;
    let later = noon() + TimeDelta::days(9);
    assert_eq!(HISTORY.drop_at(&pool, Retention::days(7), later).await.unwrap(), 2);
    let left = names_of(HISTORY, &pool).await;
    assert_eq!((left.len(), left[0].as_str()), (7, "said_20260302"));
    assert_eq!(HISTORY.drop_at(&pool, Retention::days(0), later).await.unwrap(), 7);
    assert_eq!(names(&pool).await, kept);
}

#[tokio::test]
async fn a_long_pause_leaves_no_gap() {
    let pool = migrated().await;
    INBOX.make_at(&pool, noon()).await.unwrap();
    let later = noon() + TimeDelta::days(60);
    INBOX.make_at(&pool, later).await.unwrap();
    assert_eq!(names(&pool).await.len(), 9 + 9, "one for all of the pause, and those ahead");
    let days: Vec<_> = (0..61).map(|day| noon() + TimeDelta::days(day)).collect();
    assert_eq!(note(&pool, &days).await.unwrap(), [Seen::New; 61]);
    assert_eq!(INBOX.drop_at(&pool, Retention::days(60), later).await.unwrap(), 0);
    assert_eq!(
        INBOX.drop_at(&pool, Retention::days(30), later).await.unwrap(),
        9,
        "the pause stays whole"
    );
    assert!(is_known(&pool, later - TimeDelta::days(40)).await);
}

#[tokio::test]
async fn replicas_make_and_drop_at_the_same_time() {
    let pool = migrated().await;
    let made = (0..8).map(|_| INBOX.make_at(&pool, noon()));
    assert!(futures::future::join_all(made).await.iter().all(Result::is_ok));
    assert_eq!(names(&pool).await.len(), 9);
    let later = noon() + TimeDelta::days(40);
    INBOX.make_at(&pool, later).await.unwrap();
    let dropped = (0..8).map(|_| INBOX.drop_at(&pool, Retention::default(), later));
    let dropped: Vec<_> = futures::future::join_all(dropped).await;
    // One that waits for another longer than a moment leaves the rest for the next time.
    let total: usize = dropped.into_iter().map(Result::unwrap_or_default).sum();
    assert!(total > 0);
    INBOX.drop_at(&pool, Retention::default(), later).await.unwrap();
    assert_eq!(names(&pool).await[0], "idempotency_keys_20260409");
}

#[tokio::test]
async fn making_waits_for_nobody_and_dropping_no_longer_than_a_moment() {
    let pool = migrated().await;
    INBOX.make_at(&pool, noon()).await.unwrap();
    let batch = pool.begin().await.unwrap();
    let insert = "INSERT INTO idempotency_keys VALUES ($1, 'x', $1, '')";
    batch.query(insert).bind(id(noon())).done().await.unwrap();
    let later = noon() + TimeDelta::days(99);
    INBOX.make_at(&pool, later).await.unwrap();
    note(&pool, &[later]).await.unwrap();

    let began = Instant::now();
    let dropped = INBOX.drop_at(&pool, Retention::default(), later).await;
    assert!(matches!(dropped, Err(Failure::Refused(_))), "it is tried again later: {dropped:?}");
    assert!(began.elapsed().as_secs() < 30, "{:?}", began.elapsed());
    batch.query("ROLLBACK").done().await.unwrap();
    assert_eq!(INBOX.drop_at(&pool, Retention::default(), later).await.unwrap(), 9);
}

/// As by the clock of a replica, before it was the database's; or by a database's that was wrong.
#[tokio::test]
async fn whatever_a_wrong_clock_has_made_and_dropped_there_is_room_for_today() {
    for wrong in [-400, -40, -1, 1, 40, 400].map(TimeDelta::days) {
        let pool = migrated().await;
        INBOX.make_at(&pool, noon()).await.unwrap();
        INBOX.make_at(&pool, noon() + wrong).await.unwrap();
        INBOX.drop_at(&pool, Retention::default(), noon() + wrong).await.unwrap();
        INBOX.make_at(&pool, noon()).await.unwrap();
        let days: Vec<_> = (-1..=7).map(|day| noon() + TimeDelta::days(day)).collect();
        assert_eq!(note(&pool, &days).await.unwrap(), [Seen::New; 9], "{wrong}");
        let made = names(&pool).await;
        INBOX.make_at(&pool, noon()).await.unwrap();
        assert_eq!(names(&pool).await, made, "{wrong}");
    }
}

#[tokio::test]
async fn a_partition_that_is_gone_is_made_again_if_it_is_still_needed() {
    let pool = migrated().await;
    INBOX.make_at(&pool, noon()).await.unwrap();
    for day in ["20260228", "20260301", "20260304"].map(|day| format!("idempotency_keys_{day}")) {
        run(&pool, format!("DROP TABLE {day}")).await;
        INBOX.make_at(&pool, noon()).await.unwrap();
        assert!(names(&pool).await.contains(&day), "{day}");
    }
    // For days long ago it is unknown which events were handled.
    let later = noon() + TimeDelta::days(5);
    INBOX.make_at(&pool, later).await.unwrap();
    run(&pool, "DROP TABLE idempotency_keys_20260302".into()).await;
    INBOX.make_at(&pool, later).await.unwrap();
    assert!(note(&pool, &[noon() + TimeDelta::days(1)]).await.is_err());
}

#[tokio::test]
async fn it_goes_by_the_databases_clock() {
    let pool = migrated().await;
    INBOX.make(&pool).await.unwrap();
    let now: DateTime<Utc> = sqlx::query_scalar("SELECT now()").fetch_one(&pool).await.unwrap();
    assert_eq!(note(&pool, &[now]).await.unwrap(), [Seen::New]);
    assert_eq!(INBOX.drop_old(&pool, Retention::default()).await.unwrap(), 0);
}
