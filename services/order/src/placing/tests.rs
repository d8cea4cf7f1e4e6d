mod locks;

use super::{drawing::draw_up, *};
use crate::{
    store::{LockWait, OrderRepository, Placed},
    testing::{Bench, context, context_on, request, settings},
};
use database::{Limits, PgPool};
use futures::FutureExt;
use messaging::{MessageStore, SystemEnv};
use std::pin::pin;

impl Bench {
    /// A transaction waits for a lock of this database.
    async fn somebody_waits(&self) {
        let held_up = "SELECT count(*) FROM pg_stat_activity
            WHERE wait_event_type = 'Lock' AND datname = current_database()";
        while self.count(held_up).await == 0 {}
    }
}

fn drawn_up(key: &str) -> Placed {
    draw_up(&SystemEnv, &request(Some(key))).0
}

#[tokio::test]
async fn whatever_waits_is_written_together_and_only_the_culprit_pays() {
    let (bench, writer) = Bench::without_writer(context().await, 10);
    let mut poisoned = request(None);
    // Validation allows no negative amount; the table has its own check.
    poisoned.draft.total_amount = Money::cents(-100);
    let mut waiting: Vec<_> = [request(None), poisoned, request(None)]
        .into_iter()
        .map(|request| Box::pin(bench.placing.place(request)))
        .collect();
    for place in &mut waiting {
        assert!(place.now_or_never().is_none());
    }
    tokio::spawn(writer.run(bench.context.clone()));
    let verdicts = futures::future::join_all(waiting).await;
    assert!(verdicts[0].is_ok());
    assert_eq!(verdicts[1], Err(Refusal::Broken));
    assert!(verdicts[2].is_ok());
    assert_eq!(bench.count("SELECT count(*) FROM orders").await, 2);
    assert_eq!(bench.count("SELECT count(*) FROM outbox").await, 2);
}

#[tokio::test]
async fn all_old_answers_are_forgotten_but_what_another_process_is_at() {
    let context = context().await;
    let pool = &context.message_store.pool;
    sqlx::query(
        "INSERT INTO http_idempotency_keys (key, digest, order_id, answer, created_at)
         SELECT number, '', gen_random_uuid(), '', now() - number * INTERVAL '1 second'
         FROM generate_series(0, 3 * $1) AS number",
    )
    .bind(i64::from(FORGOTTEN_MAX))
    .execute(pool)
    .await
    .unwrap();
    let other = pool.begin().await.unwrap();
    other
        .query("SELECT FROM http_idempotency_keys WHERE key = '2000' FOR UPDATE")
        .done()
        .await
        .unwrap();
    forget(context.clone(), Duration::from_secs(500)).await.unwrap();
    let left = "SELECT count(*), count(*) FILTER (WHERE key = '2000') FROM http_idempotency_keys";
    let (left, held): (i64, i64) = sqlx::query_as(left).fetch_one(pool).await.unwrap();
    assert!(held == 1 && left <= 502, "{left} are left");
    assert!(left > 400, "{left} are left, and those of the last minutes are wanted");
}

#[tokio::test]
async fn who_has_gone_before_his_order_is_written_has_none() {
    let (bench, writer) = Bench::without_writer(context().await, 10);
    assert!(bench.placing.place(request(Some("gone"))).now_or_never().is_none());
    let busy = bench.placing.place(request(Some("gone"))).await;
    assert_eq!(busy, Err(Refusal::KeyBusy));
    tokio::spawn(writer.run(bench.context.clone()));
    bench.placing.place(request(None)).await.unwrap();
    assert_eq!(bench.count("SELECT count(*) FROM orders").await, 1);
    bench.placing.place(request(Some("gone"))).await.unwrap();
}

#[tokio::test]
async fn who_goes_while_his_order_is_written_has_it() {
    let bench = Bench::new().await;
    let gate = bench.context.message_store.begin().await.unwrap();
    gate.query("LOCK TABLE orders").done().await.unwrap();
    tokio::select! {
        _ = bench.placing.place(request(Some("k"))) => panic!("the table is locked"),
        () = bench.somebody_waits() => {}
    }
    drop(gate);
    let answered = loop {
        match bench.placing.place(request(Some("k"))).await {
            Err(Refusal::KeyBusy) => tokio::task::yield_now().await,
            verdict => break verdict.unwrap(),
        }
    };
    assert_eq!(bench.count("SELECT count(*) FROM orders").await, 1);
    assert!(
        store::get(&bench.context.message_store.pool, answered.order_id, None)
            .await
            .unwrap()
            .is_some()
    );
}

#[tokio::test]
async fn a_repeated_key_gets_the_first_answer_from_another_process_too() {
    let bench = Bench::new().await;
    let first = bench.placing.place(request(Some("k"))).await.unwrap();
    assert_eq!(bench.placing.place(request(Some("k"))).await.as_ref(), Ok(&first));
    let restarted = Bench::on(context_on(bench.context.message_store.pool.clone()));
    assert_eq!(restarted.placing.place(request(Some("k"))).await.as_ref(), Ok(&first));

    let mut other = request(Some("k"));
    other.draft.items.pop();
    assert_eq!(restarted.placing.place(other).await, Err(Refusal::KeyReused));
    assert_eq!(bench.count("SELECT count(*) FROM orders").await, 1);
}

#[tokio::test]
async fn a_key_at_work_in_another_process_is_waited_for() {
    let bench = Bench::new().await;
    for is_placed in [false, true] {
        let key = format!("placed: {is_placed}");
        let other = bench.context.message_store.begin().await.unwrap();
        let answer =
            "INSERT INTO http_idempotency_keys VALUES ($1, '', gen_random_uuid(), 'first')";
        other.query(answer).bind(&key).done().await.unwrap();
        let mut placing = Box::pin(bench.placing.place(request(Some(&key))));
        tokio::select! {
            _ = &mut placing => panic!("somebody else has the key"),
            () = bench.somebody_waits() => {}
        }
        if is_placed {
            other.commit().await.unwrap();
            // The other request was for a different order.
            assert_eq!(placing.await, Err(Refusal::KeyReused));
        } else {
            drop(other);
            placing.await.unwrap();
        }
    }
    assert_eq!(bench.count("SELECT count(*) FROM orders").await, 1);
}

/// Waits for a transaction that is blocked by a lock, and breaks its connection.
async fn break_who_waits(bench: &Bench) {
    bench.somebody_waits().await;
    let broken = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
        WHERE wait_event_type = 'Lock' AND datname = current_database()";
    assert!(bench.count(broken).await > 0);
}

#[tokio::test]
async fn an_order_that_is_committed_is_answered_so_though_the_answer_was_lost() {
    let (bench, writer) = Bench::without_writer(context().await, 10);
    let (pool, message_store) = (&bench.context.message_store.pool, &bench.context.message_store);
    let first = drawn_up("k");
    message_store.place(std::slice::from_ref(&first), LockWait::Usual).await.unwrap();
    // The first statement waits for this gate in its transaction, the second for that table.
    sqlx::raw_sql(
        "CREATE FUNCTION wait_for_gate() RETURNS TRIGGER LANGUAGE plpgsql AS
             'BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NULL; END';
         CREATE TRIGGER gate AFTER INSERT ON orders
             FOR EACH STATEMENT EXECUTE FUNCTION wait_for_gate()",
    )
    .execute(pool)
    .await
    .unwrap();
    let gate = pool.begin().await.unwrap();
    gate.query("SELECT pg_advisory_xact_lock(1)").done().await.unwrap();
    let placing = async {
        tokio::join!(
            bench.placing.place(request(None)),
            bench.placing.place(request(Some("k"))),
            async { drop(tokio::spawn(writer.run(bench.context.clone()))) }
        )
    };
    let breaking = async {
        bench.somebody_waits().await;
        let table = pool.begin().await.unwrap();
        table.query("LOCK TABLE http_idempotency_keys").run();
        let locking = table.flush();
        let opening = async {
            let two = "SELECT count(*) FROM pg_stat_activity
                WHERE wait_event_type = 'Lock' AND datname = current_database()";
            while bench.count(two).await < 2 {}
            gate.commit().await.unwrap();
        };
        tokio::join!(locking, opening).0.unwrap();
        // The order is committed; the key's answer is still being read.
        break_who_waits(&bench).await;
        assert_eq!(bench.count("SELECT count(*) FROM orders").await, 2);
    };
    let ((fresh, repeated, ()), ()) = tokio::join!(placing, breaking);
    assert!(store::get(pool, fresh.unwrap().order_id, None).await.unwrap().is_some());
    assert_eq!(repeated.unwrap().order_id, first.view.id);
    assert_eq!(bench.count("SELECT count(*) FROM orders").await, 2);
    assert_eq!(bench.count("SELECT count(*) FROM outbox").await, 2);
}

#[tokio::test]
async fn an_order_whose_connection_breaks_is_placed_once_all_the_same() {
    let bench = Bench::new().await;
    let gate = bench.context.message_store.begin().await.unwrap();
    gate.query("LOCK TABLE orders IN SHARE MODE").done().await.unwrap();
    let breaking = async {
        break_who_waits(&bench).await;
        drop(gate);
    };
    let (placed, ()) = tokio::join!(bench.placing.place(request(None)), breaking);
    assert!(
        store::get(&bench.context.message_store.pool, placed.unwrap().order_id, None)
            .await
            .unwrap()
            .is_some()
    );
    assert_eq!(bench.count("SELECT count(*) FROM orders").await, 1);
}

#[tokio::test]
async fn while_the_outcome_is_not_known_the_order_to_look_for_is_named() {
    let url = database::testing::throwaway_url().await;
    let pool = || PgPool::new(&url, "test", 10, Limits::DEFAULT).unwrap();
    let (bench, watching) = (Bench::on(context_on(pool())), pool());
    crate::service(&settings()).unwrap().migrate(&watching).await.unwrap();
    let gate = watching.begin().await.unwrap();
    gate.query("LOCK TABLE orders IN SHARE MODE").done().await.unwrap();
    let watched = Bench::on(context_on(watching.clone()));
    let breaking = async {
        watched.somebody_waits().await;
        bench.lose_database();
        break_who_waits(&watched).await;
    };
    let (placed, ()) = tokio::join!(bench.placing.place(request(None)), breaking);
    let Err(Refusal::Unknown(order)) = placed else { panic!("{placed:?}") };
    drop(gate);
    assert_eq!(store::get(&watching, order, None).await.unwrap(), None);
}

#[tokio::test]
async fn a_request_is_given_up_only_before_it_is_written() {
    let (mut bench, writer) = Bench::without_writer(context().await, 10);
    bench.placing.taken_within = Duration::from_millis(1);
    assert_eq!(bench.placing.place(request(None)).await, Err(Refusal::Away));

    let gate = bench.context.message_store.begin().await.unwrap();
    gate.query("LOCK TABLE orders").done().await.unwrap();
    bench.placing.taken_within = Duration::from_millis(100);
    tokio::spawn(writer.run(bench.context.clone()));
    let mut placing = pin!(bench.placing.place(request(None)));
    tokio::select! {
        given_up = &mut placing => panic!("{given_up:?}"),
        () = async {
            bench.somebody_waits().await;
            tokio::time::sleep(bench.placing.taken_within * 2).await;
        } => {}
    }
    drop(gate);
    placing.await.unwrap();
    assert_eq!(bench.count("SELECT count(*) FROM orders").await, 1, "the first was given up");
}

#[tokio::test]
async fn two_requests_with_one_key_in_one_statement_are_one_order() {
    let bench = Bench::new().await;
    let mut page = [drawn_up("k"), drawn_up("k"), drawn_up("other")];
    // Ids of one millisecond come in any order, and the least has the key.
    page[..2].sort_by_key(|new| new.view.id);
    let first = page[0].answer.clone().unwrap();
    let given = bench.context.message_store.place(&page, LockWait::Usual).await.unwrap();
    assert_eq!(given, [("k".to_owned(), first.clone())].into());
    let orders = "SELECT count(*) FROM orders JOIN outbox ON order_id = id";
    assert_eq!(bench.count(orders).await, 2);

    page[2].answer = None;
    let again = bench.context.message_store.place(&page[..2], LockWait::Usual).await.unwrap();
    assert_eq!(again, [("k".to_owned(), first)].into());
    assert_eq!(bench.count(orders).await, 2);
    assert!(
        bench.context.message_store.place(&page[2..], LockWait::Usual).await.is_err(),
        "the same order once more"
    );
}

#[tokio::test]
async fn two_processes_make_one_order_of_one_key() {
    let one = Bench::new().await;
    let other = Bench::on(context_on(one.context.message_store.pool.clone()));
    let asked = (0..40).map(|n| {
        let bench = if n % 2 == 0 { &one } else { &other };
        bench.placing.place(request(Some("k")))
    });
    let verdicts = futures::future::join_all(asked).await;
    let placed: Vec<_> = verdicts.iter().filter_map(|verdict| verdict.as_ref().ok()).collect();
    assert!(!placed.is_empty());
    assert!(placed.iter().all(|answered| *answered == placed[0]));
    let refused = verdicts.iter().filter_map(|verdict| verdict.as_ref().err());
    assert!(refused.into_iter().all(|refusal| *refusal == Refusal::KeyBusy));
    assert_eq!(one.count("SELECT count(*) FROM orders").await, 1);
}

#[tokio::test]
async fn a_full_queue_refuses_at_once() {
    let (bench, _writer) = Bench::without_writer(context().await, 1);
    assert!(bench.placing.place(request(None)).now_or_never().is_none());
    assert_eq!(bench.placing.place(request(Some("k"))).await, Err(Refusal::Full));
    // The refused key is free again.
    assert_eq!(bench.placing.place(request(Some("k"))).await, Err(Refusal::Full));
}

#[tokio::test]
async fn without_a_database_nobody_waits_for_long() {
    let bench = Bench::new().await;
    bench.lose_database();
    assert_eq!(bench.placing.place(request(None)).await, Err(Refusal::Away));
}

#[tokio::test]
async fn the_writer_ends_when_nobody_can_ask_any_more() {
    let (bench, writer) = Bench::without_writer(context().await, 10);
    let writing = tokio::spawn(writer.run(bench.context.clone()));
    bench.context.stop.cancel();
    bench.placing.place(request(None)).await.unwrap();
    drop(bench);
    writing.await.unwrap();
}

#[tokio::test]
async fn a_customers_trace_is_gone_on_with() {
    let bench = Bench::new().await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    bench.placing.place(Request { trace: Some(trace.into()), ..request(None) }).await.unwrap();
    bench.placed().await;
    let traces: Vec<String> = sqlx::query_scalar("SELECT trace FROM outbox ORDER BY event_id")
        .fetch_all(&bench.context.message_store.pool)
        .await
        .unwrap();
    assert!(traces.contains(&trace.to_owned()));
    assert!(traces.iter().all(|trace| trace.len() == 55));
}
