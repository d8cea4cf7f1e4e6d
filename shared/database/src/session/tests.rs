use crate::{PgPool, Session, testing::throwaway};
use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use sqlx::error::DatabaseError;
use uuid::Uuid;

async fn do_all(pool: &PgPool, statements: &[&'static str]) {
    let tx = pool.begin().await.unwrap();
    statements.iter().for_each(|statement| tx.query(*statement).run());
    tx.commit().await.unwrap();
}

async fn count(pool: &PgPool) -> i64 {
    sqlx::query_scalar("SELECT COUNT(*) FROM notes").fetch_one(pool).await.unwrap()
}

#[tokio::test]
async fn each_statement_sees_what_the_earlier_ones_have_done() {
    let pool = throwaway().await;
    let notes = async |tx: &Session| {
        let found = tx.query("SELECT id, text FROM notes ORDER BY id").rows::<(i32, String)>();
        found.await.unwrap().into_iter().map(|(id, text)| format!("{id}{text}")).collect::<Vec<_>>()
    };
    do_all(&pool, &["CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT)"]).await;
    let tx = pool.begin().await.unwrap();
    for before in [0, 10] {
        let insert = "INSERT INTO notes VALUES ($1, $2)";
        tx.query(insert).bind(before + 1).bind("a").run();
        tx.query("UPDATE notes SET text = $2 || $2 WHERE id = $1").bind(1).bind("b").run();
        tx.query(insert).bind(before + 2).bind("c").run();
        let first = tx.query("SELECT id FROM notes WHERE id < 0").rows::<(i32,)>();
        let second = notes(&tx);
        assert_eq!(second.await.len(), if before == 0 { 2 } else { 4 });
        assert_eq!(first.await.unwrap(), []);
    }
    tx.commit().await.unwrap();
    assert_eq!(notes(&pool.begin().await.unwrap()).await, ["1bb", "2c", "11a", "12c"]);
}

#[tokio::test]
async fn when_a_statement_is_refused_none_is_done_and_none_is_sent_any_more() {
    let pool = throwaway().await;
    do_all(&pool, &["CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT)"]).await;
    for (id, text, code) in [(1, "twice", Some("23505")), (2, "not\0text", Some("22021"))] {
        let tx = pool.begin().await.unwrap();
        tx.query("INSERT INTO notes VALUES (1, '')").run();
        let before = tx.query("SELECT id FROM notes").rows::<(i32,)>();
        tx.query("INSERT INTO notes VALUES ($1, $2)").bind(id).bind(text).run();
        let why = before.await.unwrap_err();
        let refused = why.as_database_error().and_then(DatabaseError::code);
        assert_eq!(refused.as_deref(), code, "{why}");
        tx.query("INSERT INTO notes VALUES (3, '')").run();
        tx.commit().await.unwrap_err();
    }
    assert_eq!(count(&pool).await, 0);
    do_all(&pool, &["INSERT INTO notes VALUES (1, '')"]).await;
}

#[tokio::test]
async fn a_commit_that_is_refused_fails() {
    let pool = throwaway().await;
    let once = "CREATE TABLE notes (id INTEGER UNIQUE DEFERRABLE INITIALLY DEFERRED)";
    do_all(&pool, &[once, "INSERT INTO notes VALUES (1)"]).await;
    let tx = pool.begin().await.unwrap();
    tx.query("INSERT INTO notes VALUES (1)").done().await.unwrap();
    tx.commit().await.unwrap_err();
    assert_eq!(count(&pool).await, 1);
}

#[tokio::test]
async fn more_than_the_network_holds_goes_both_ways_at_once() {
    let pool = throwaway().await;
    let tx = pool.begin().await.unwrap();
    let long = "x".repeat(1 << 20);
    let answers: Vec<_> =
        (0..16).map(|_| tx.query("SELECT $1 || $1").bind(&long).rows::<(String,)>()).collect();
    for answer in answers {
        assert_eq!(answer.await.unwrap()[0].0.len(), 2 << 20);
    }
}

#[tokio::test]
async fn values_come_back_as_they_went() {
    let pool = throwaway().await;
    let tx = pool.begin().await.unwrap();
    let at = DateTime::from_timestamp_micros(1_700_000_000_123_456).unwrap();
    let rows: Vec<Values> = tx
        .query(
            "SELECT $1 AS flag, $2 AS small, $3 AS long, $4 AS text, $5 AS bytes, $6 AS id,
                 $7 AS at, $8::TEXT AS nothing",
        )
        .bind(true)
        .bind(-7_i16)
        .bind(i64::MIN)
        .bind("Ünï")
        .bind(vec![0_u8, 255])
        .bind(Uuid::from_u128(9))
        .bind(at)
        .bind(None::<String>)
        .rows()
        .await
        .unwrap();
    let expected = Values {
        flag: true,
        small: -7,
        long: i64::MIN,
        text: "Ünï".into(),
        bytes: vec![0, 255],
        id: Uuid::from_u128(9),
        at,
        nothing: None,
    };
    assert_eq!(rows, [expected]);
    for number in ["0", "1", "-1", "0.00", "12.30", "0.0001", "123456789012.99", "10000", "-0.5"] {
        let found = tx.query("SELECT $1::TEXT::NUMERIC").bind(number).rows::<(Decimal,)>();
        assert_eq!(found.await.unwrap()[0].0.to_string(), number);
    }
    let why = tx.query("SELECT NULL::TEXT").rows::<(String,)>().await.unwrap_err();
    assert!(why.to_string().contains("NULL"), "{why}");
}

crate::row! {
    #[derive(Debug, PartialEq)]
    struct Values {
        flag: bool,
        small: i16,
        long: i64,
        text: String,
        bytes: Vec<u8>,
        id: Uuid,
        at: DateTime<Utc>,
        nothing: Option<String>,
    }
}
