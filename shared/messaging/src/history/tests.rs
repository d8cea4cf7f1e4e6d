use super::*;
use crate::partitions::HISTORY;
use crate::{Env, MessageStore, PgMessageStore, SystemEnv, migrations};
use chrono::TimeDelta;
use events::{OrderId, lowest_id};

const WEEK: Retention = Retention::days(7);

async fn keeping(history: Retention) -> PgMessageStore {
    let pool = database::testing::throwaway().await;
    database::migrate(&pool, "messaging_schema_history", &migrations()).await.unwrap();
    HISTORY.make(&pool).await.unwrap();
    PgMessageStore::new(pool).keeping(history)
}

fn said(event: &str, at: DateTime<Utc>) -> Outgoing {
    Outgoing {
        id: EventId::from_u128(lowest_id(at).as_u128() | u128::from(SystemEnv.random())),
        event: event.into(),
        version: 1,
        order_id: OrderId::from_u128(1),
        body: r#"{"till":7}"#.into(),
        caused_by: Some(EventId::from_u128(2)),
        trace: Some("a trace".into()),
    }
}

/// Committed, and not yet confirmed.
async fn say(message_store: &PgMessageStore, said: &[Outgoing]) {
    let mut tx = message_store.begin().await.unwrap();
    message_store.enqueue(&mut tx, said).await.unwrap();
    message_store.commit(tx).await.unwrap();
}

async fn forget(message_store: &PgMessageStore, said: &[Outgoing]) {
    let ids: Vec<_> = said.iter().map(|event| event.id).collect();
    message_store.forget_sent(&ids).await.unwrap();
}

/// The ids in a table, in order.
async fn ids(message_store: &PgMessageStore, table: &'static str) -> Vec<EventId> {
    let select = format!("SELECT event_id FROM {table} ORDER BY event_id");
    let ids = sqlx::query_scalar(sqlx::AssertSqlSafe(select));
    ids.fetch_all(&message_store.pool).await.unwrap()
}

async fn pages(message_store: &PgMessageStore, mut range: Range, max: u32) -> Vec<Vec<Outgoing>> {
    let mut connection = message_store.pool.acquire().await.unwrap();
    let mut pages = Vec::new();
    loop {
        let found = page(&mut connection, &range, max).await.unwrap();
        let Some(last) = found.last() else { return pages };
        range.after = last.id;
        pages.push(found);
    }
}

fn all_of(event: &str) -> Range {
    Range { event: event.into(), after: EventId::nil(), before: EventId::max() }
}

#[tokio::test]
async fn a_confirmed_event_is_kept_as_it_was_and_once() {
    let message_store = keeping(WEEK).await;
    let [one, other] = [said("till.counted", SystemEnv.now()), said("till.shut", SystemEnv.now())];
    say(&message_store, &[one.clone(), other.clone()]).await;
    // A crash after the confirm: the sweep publishes it again, and it is confirmed again.
    message_store.release(&[one.id]).await.unwrap();
    assert_eq!(message_store.claim_unsent(10).await.unwrap().together, vec![one.clone()]);
    for _ in 0..2 {
        forget(&message_store, std::slice::from_ref(&one)).await;
        assert_eq!(ids(&message_store, "said").await, [one.id]);
        assert_eq!(ids(&message_store, "outbox").await, [other.id]);
    }
    // As after a restore of an older outbox.
    say(&message_store, std::slice::from_ref(&one)).await;
    forget(&message_store, &[one.clone(), other]).await;
    assert_eq!(ids(&message_store, "said").await.len(), 2);
    assert!(ids(&message_store, "outbox").await.is_empty());
    assert_eq!(pages(&message_store, all_of("till.counted"), 10).await, [[one]]);
}

#[tokio::test]
async fn it_is_read_in_order_and_in_pages_wherever_it_is() {
    let message_store = keeping(WEEK).await;
    let now = SystemEnv.now();
    let at = |minutes| said("till.counted", now - TimeDelta::minutes(minutes));
    let all: Vec<_> = [4000, 3000, 2000, 1000, 1].into_iter().map(at).collect();
    say(&message_store, &all).await;
    say(&message_store, &[said("till.shut", now)]).await;
    // The relay confirms in any order.
    forget(&message_store, &[all[3].clone(), all[0].clone(), all[2].clone()]).await;
    let found = pages(&message_store, all_of("till.counted"), 2).await;
    assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 1]);
    assert_eq!(found.concat(), all);

    let between = Range { after: all[0].id, before: all[4].id, ..all_of("till.counted") };
    assert_eq!(pages(&message_store, between.clone(), 9).await.concat(), all[1..4]);
    let mut connection = message_store.pool.acquire().await.unwrap();
    assert_eq!(count(&mut connection, &between).await.unwrap(), 3);
    let Kept { oldest, newest, .. } = kept(&mut connection).await.unwrap();
    assert_eq!(oldest, Some(all[0].id));
    assert!(newest > Some(all[4].id), "of another kind");
}

#[tokio::test]
async fn without_history_it_is_gone() {
    let message_store = keeping(Retention::days(0)).await;
    let one = [said("till.counted", SystemEnv.now())];
    say(&message_store, &one).await;
    forget(&message_store, &one).await;
    for table in ["outbox", "said"] {
        assert!(ids(&message_store, table).await.is_empty(), "{table}");
    }
}

#[tokio::test]
async fn what_is_too_old_or_has_no_partition_leaves_the_outbox_all_the_same() {
    let message_store = keeping(WEEK).await;
    let now = SystemEnv.now();
    let late = said("till.counted", now - TimeDelta::days(7) - TimeDelta::minutes(1));
    let kept = said("till.counted", now - TimeDelta::days(7) + TimeDelta::minutes(1));
    let mixed = [late, kept.clone()];
    say(&message_store, &mixed).await;
    forget(&message_store, &mixed).await;
    assert!(ids(&message_store, "outbox").await.is_empty());
    assert_eq!(ids(&message_store, "said").await, [kept.id]);

    let ahead = [said("till.counted", now + TimeDelta::days(99))];
    say(&message_store, &ahead).await;
    forget(&message_store, &ahead).await;
    assert!(ids(&message_store, "outbox").await.is_empty());
    assert_eq!(ids(&message_store, "said").await, [kept.id]);
}

#[tokio::test]
async fn a_history_that_is_locked_holds_up_no_event() {
    let message_store = keeping(WEEK).await;
    let one = [said("till.counted", SystemEnv.now())];
    say(&message_store, &one).await;
    let tx = message_store.begin().await.unwrap();
    tx.query("LOCK TABLE said IN ACCESS EXCLUSIVE MODE").done().await.unwrap();
    forget(&message_store, &one).await;
    assert!(ids(&message_store, "outbox").await.is_empty());
    tx.commit().await.unwrap();
    assert!(ids(&message_store, "said").await.is_empty());
}
