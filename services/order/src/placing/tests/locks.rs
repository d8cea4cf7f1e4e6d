//! Locks hold up one order, and never the others.

use super::*;
use crate::store::Unwritten;
use database::Transaction;
use futures::future::join_all;
use tokio::time::{Instant, timeout};

/// Another process has this key's answer locked, for as long as the transaction lasts.
async fn locked_key(bench: &Bench, key: &str) -> Transaction {
    let first = drawn_up(key);
    bench.context.message_store.place(&[first], LockWait::Usual).await.unwrap();
    let other = bench.context.message_store.begin().await.unwrap();
    let forgetting = "DELETE FROM http_idempotency_keys WHERE key = $1";
    other.query(forgetting).bind(key).done().await.unwrap();
    other
}

#[tokio::test]
async fn a_key_that_another_process_has_locked_holds_up_its_own_order_and_no_other() {
    let (bench, writer) = Bench::without_writer(context().await, 20);
    let lock = locked_key(&bench, "k").await;
    let keys = (0..12).map(|number| format!("key {number}")).collect::<Vec<_>>();
    let others = keys.iter().map(|key| request(Some(key))).chain([request(None)]);
    let mut waiting: Vec<_> = [request(Some("k"))]
        .into_iter()
        .chain(others)
        .map(|request| Box::pin(bench.placing.place(request)))
        .collect();
    for place in &mut waiting {
        assert!(place.now_or_never().is_none());
    }
    tokio::spawn(writer.run(bench.context.clone()));
    let mut verdicts = join_all(waiting).await;
    assert_eq!(verdicts.remove(0), Err(Refusal::NotNow));
    assert!(verdicts.iter().all(Result::is_ok), "{verdicts:?}");
    assert_eq!(bench.count("SELECT count(*) FROM orders").await, 1 + 13);
    assert_eq!(bench.count("SELECT count(*) FROM outbox").await, 1 + 13);

    drop(lock);
    let first = "SELECT count(*) FROM http_idempotency_keys WHERE key = 'k'";
    assert_eq!(bench.count(first).await, 1);
    bench.placing.place(request(Some("k"))).await.unwrap();
    assert_eq!(bench.count("SELECT count(*) FROM orders").await, 1 + 13, "the first answer");
}

#[tokio::test]
async fn whoever_asks_after_a_locked_key_is_served_all_the_same() {
    let (bench, writer) = Bench::without_writer(context().await, 20);
    let _lock = locked_key(&bench, "k").await;
    // The batch has been taken while later requests come.
    let taken = bench.placing.place(request(Some("k")));
    let mut taken = pin!(taken);
    assert!(taken.as_mut().now_or_never().is_none());
    tokio::spawn(writer.run(bench.context.clone()));
    let later = async {
        bench.somebody_waits().await;
        bench.placing.place(request(None)).await
    };
    let (refused, placed) = tokio::join!(taken, later);
    assert_eq!(refused, Err(Refusal::NotNow));
    placed.unwrap();
}

#[tokio::test]
async fn a_brief_wait_for_a_lock_ends_with_its_transaction() {
    let bench = Bench::new().await;
    let lock = locked_key(&bench, "k").await;
    let store = &bench.context.message_store;
    let (page, began) = ([drawn_up("k")], Instant::now());
    let refused = store.place(&page, LockWait::Brief).await;
    assert!(matches!(refused, Err(Unwritten::Refused(_))), "{refused:?}");
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    drop(lock);
    store.place(&page, LockWait::Brief).await.unwrap();
    // Both transactions had the connection that is lent now.
    let session = store.statement().await.unwrap();
    let limit: Vec<(String,)> = session.query("SHOW lock_timeout").rows().await.unwrap();
    assert_eq!(limit, [("2500ms".to_owned(),)]);
}

#[tokio::test]
async fn a_table_that_stays_locked_refuses_all_in_time() {
    let (bench, writer) = Bench::without_writer(context().await, 100);
    let gate = bench.context.message_store.begin().await.unwrap();
    gate.query("SET LOCAL idle_in_transaction_session_timeout = 0").run();
    gate.query("LOCK TABLE orders").done().await.unwrap();
    let mut waiting: Vec<_> =
        (0..64).map(|_| Box::pin(bench.placing.place(request(None)))).collect();
    for place in &mut waiting {
        assert!(place.now_or_never().is_none());
    }
    tokio::spawn(writer.run(bench.context.clone()));
    let verdicts = timeout(TAKEN_WITHIN, join_all(waiting)).await;
    let verdicts = verdicts.expect("no request in the queue is given up");
    let refused = verdicts.iter().filter(|verdict| **verdict == Err(Refusal::NotNow));
    assert_eq!(refused.count(), 64);
    drop(gate);
    assert_eq!(bench.count("SELECT count(*) FROM orders").await, 0);
    bench.placing.place(request(None)).await.unwrap();
}
