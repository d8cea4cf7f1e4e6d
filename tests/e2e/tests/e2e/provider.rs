//! A bad payment provider: down, slow, silent, hanging up, killed. Every order ends, and by the
//! provider's own books no customer was charged twice or for nothing.

use e2e::{Fleet, PLENTY, SOLD_OUT, order, until};
use futures::future::join_all;
use serde_json::json;
use sqlx::PgPool;
use uuid::Uuid;

/// Long enough for a test to act while the provider thinks.
const PATIENT: [(&str, &str); 2] =
    [("PAYMENT_GATEWAY_TIMEOUT", "40s"), ("PAYMENT_REAP_AFTER", "50s")];

async fn status(pool: &PgPool, order: Uuid) -> Option<(String, bool, i32)> {
    sqlx::query_as("SELECT status, in_doubt, attempts FROM payments WHERE order_id = $1")
        .bind(order)
        .fetch_optional(pool)
        .await
        .unwrap()
}

async fn is_in_hand(pool: &PgPool, order: Uuid) {
    until(|| async {
        match status(pool, order).await {
            Some((status, ..)) if status == "PROCESSING" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

async fn is_in_doubt(pool: &PgPool, order: Uuid) {
    until(|| async {
        match status(pool, order).await {
            Some((_, true, _)) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

#[tokio::test]
async fn an_outage_costs_no_order_however_long_it_lasts() {
    let settings = [("PAYMENT_BREAKER_PAUSE", "500ms")];
    let mut fleet = Fleet::start_with_provider(&settings).await;
    fleet.spawn_as("payment", "payment-2", &[]);
    fleet.ready().await;
    fleet.provider().behave(json!({"down": true})).await;
    let wish = order("pix", PLENTY, 1);
    let mut orders = join_all((0..60).map(|_| fleet.place(&wish))).await;
    for replica in ["payment", "payment-2"] {
        fleet.logs(replica, "the provider is failing").await;
    }
    orders.extend(join_all((0..12).map(|_| fleet.place(&wish))).await);
    // Both replicas probe twice a second, for longer than all the delays between five tries
    // together.
    let asked = fleet.provider().total("calls").await;
    fleet.provider().counts("calls", asked + 20).await;
    for order in fleet.views(&orders).await {
        assert_eq!(order["status"], "PENDING", "it waits: {order}");
    }
    fleet.provider().behave(json!({"down": false})).await;
    for id in &orders {
        assert_eq!(fleet.ends(*id).await["status"], "CONFIRMED");
    }
    for replica in ["payment", "payment-2"] {
        fleet.logs(replica, "circuit breaker half-open").await;
    }
    assert_eq!(fleet.provider().total("charges").await, 72);
    fleet.verify().await;
    fleet.close().await;
}

/// The provider is up, and refuses only these requests: that looks like an outage, and must not be
/// treated as one.
#[tokio::test]
async fn orders_that_are_bound_to_fail_do_so_even_where_there_are_no_others() {
    let fleet = Fleet::start_with_provider(&[("PAYMENT_BREAKER_PAUSE", "500ms")]).await;
    let wish = order("card_unavailable", PLENTY, 1);
    let orders = join_all((0..30).map(|_| fleet.place(&wish))).await;
    fleet.logs("payment", "the provider is failing").await;
    for id in &orders {
        assert_eq!(fleet.ends(*id).await["status"], "PAYMENT_FAILED");
    }
    let confirmed = fleet.place(&order("pix", PLENTY, 1)).await;
    assert_eq!(fleet.ends(confirmed).await["status"], "CONFIRMED");
    fleet.verify().await;
    fleet.close().await;
}

#[tokio::test]
async fn a_charge_that_comes_late_is_found_and_a_voided_one_never_comes() {
    let mut fleet = Fleet::start_with_provider(&[]).await;
    let pool = fleet.pool("payment").await;
    // Payment gives up after a second, and the charges arrive long after.
    fleet.provider().behave(json!({"latency_ms": 10_000})).await;
    let wish = order("pix", PLENTY, 1);
    let (found, cancelled) = tokio::join!(fleet.place(&wish), fleet.place(&wish));
    is_in_doubt(&pool, found).await;
    is_in_doubt(&pool, cancelled).await;
    fleet.provider().behave(json!({"latency_ms": 0})).await;
    assert_eq!(fleet.cancel(cancelled).await, 202);
    assert_eq!(fleet.ends(cancelled).await["status"], "CANCELLED");
    assert_eq!(fleet.ends(found).await["status"], "CONFIRMED");
    // By then both late charges have arrived, with a void and at least one look-up.
    let late = until(|| async {
        let provider = fleet.provider.as_ref().unwrap();
        let asked = join_all([found, cancelled].map(|id| provider.asked(&pool, id))).await;
        if asked.iter().all(|times| *times > 0) { Ok(asked) } else { Err(format!("{asked:?}")) }
    });
    late.await;
    assert_eq!(fleet.provider().charges_of(found).await, 1);
    assert_eq!(fleet.provider().charges_of(cancelled).await, 0);
    assert_eq!(fleet.provider().total("voided").await, 1);
    fleet.verify().await;
    fleet.close().await;
}

#[tokio::test]
async fn a_connection_that_breaks_in_mid_answer_charges_once() {
    let mut fleet = Fleet::start_with_provider(&[]).await;
    let pool = fleet.pool("payment").await;
    fleet.provider().behave(json!({"hang_up": true})).await;
    let wishes = ["pix", "card_declined", "credit_card"].map(|method| order(method, PLENTY, 1));
    let orders = join_all(wishes.iter().map(|wish| fleet.place(wish))).await;
    for id in &orders {
        is_in_doubt(&pool, *id).await;
    }
    fleet.provider().behave(json!({"hang_up": false})).await;
    let ended = join_all(orders.iter().map(|id| fleet.ends(*id))).await;
    let ends: Vec<_> = ended.iter().map(|order| order["status"].as_str().unwrap()).collect();
    assert_eq!(ends, ["CONFIRMED", "PAYMENT_FAILED", "CONFIRMED"]);
    for id in orders {
        let (_, in_doubt, attempts) = status(&pool, id).await.unwrap();
        assert_eq!((in_doubt, attempts), (false, 1), "it was looked up, not tried again");
    }
    fleet.verify().await;
    fleet.close().await;
}

#[tokio::test]
async fn payment_is_killed_at_each_point_between_recorded_and_published() {
    let mut fleet = Fleet::start_with_provider(&PATIENT).await;
    before_the_charge_arrives(&mut fleet).await;
    before_the_answer_comes(&mut fleet).await;
    before_the_verdict_is_written(&mut fleet).await;
    before_the_event_is_published(&mut fleet).await;
    assert_eq!(fleet.provider().total("charges").await, 4);
    fleet.verify().await;
    fleet.close().await;
}

async fn kill_payment(fleet: &mut Fleet) {
    fleet.take("payment").kill();
    fleet.provider().behave(json!({"latency_ms": 0, "answer_latency_ms": 0})).await;
    fleet.spawn("payment");
}

/// The request arrives after the process that sent it has ended.
async fn before_the_charge_arrives(fleet: &mut Fleet) {
    let pool = fleet.pool("payment").await;
    fleet.provider().behave(json!({"latency_ms": 20_000})).await;
    let id = fleet.place(&order("pix", PLENTY, 1)).await;
    is_in_hand(&pool, id).await;
    assert_eq!(fleet.provider().charges_of(id).await, 0, "it is still on its way");
    kill_payment(fleet).await;
    assert_eq!(fleet.ends(id).await["status"], "CONFIRMED");
    assert_eq!(fleet.provider().charges_of(id).await, 1);
}

async fn before_the_answer_comes(fleet: &mut Fleet) {
    let pool = fleet.pool("payment").await;
    fleet.provider().behave(json!({"answer_latency_ms": 20_000})).await;
    let id = fleet.place(&order("pix", PLENTY, 1)).await;
    fleet.provider().counts("charges", 2).await;
    kill_payment(fleet).await;
    assert_eq!(fleet.ends(id).await["status"], "CONFIRMED");
    let (.., attempts) = status(&pool, id).await.unwrap();
    assert_eq!(attempts, 1, "it was looked up, not tried again");
    assert_eq!(fleet.provider().charges_of(id).await, 1);
}

async fn before_the_verdict_is_written(fleet: &mut Fleet) {
    let pool = fleet.pool("payment").await;
    fleet.provider().behave(json!({"answer_latency_ms": 5000})).await;
    let id = fleet.place(&order("pix", PLENTY, 1)).await;
    fleet.provider().counts("charges", 3).await;
    let mut held = pool.begin().await.unwrap();
    sqlx::query("SELECT FROM payments WHERE order_id = $1 FOR UPDATE")
        .bind(id)
        .execute(&mut *held)
        .await
        .unwrap();
    until(|| async {
        let waiting: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM pg_stat_activity
             WHERE datname = current_database() AND wait_event_type = 'Lock'",
        )
        .fetch_one(&pool)
        .await
        .unwrap();
        if waiting > 0 { Ok(()) } else { Err("nobody wants to write".into()) }
    })
    .await;
    kill_payment(fleet).await;
    held.rollback().await.unwrap();
    assert_eq!(fleet.ends(id).await["status"], "CONFIRMED");
    assert_eq!(fleet.provider().charges_of(id).await, 1);
}

async fn before_the_event_is_published(fleet: &mut Fleet) {
    let ways = ["inventory.payment-approved", "order.payment-approved"];
    for queue in ways {
        fleet.broker.unbind(queue, "payment.exchange", "payment.approved").await;
    }
    let id = fleet.place(&order("pix", PLENTY, 1)).await;
    fleet.is_unroutable("payment").await;
    fleet.take("payment").kill();
    for queue in ways {
        fleet.broker.bind(queue, "payment.exchange", "payment.approved").await;
    }
    fleet.spawn("payment");
    assert_eq!(fleet.ends(id).await["status"], "CONFIRMED");
    assert_eq!(fleet.provider().charges_of(id).await, 1);
}

#[tokio::test]
async fn a_refund_is_asked_for_until_the_provider_is_there_and_given_once() {
    let mut fleet = Fleet::start_with_provider(&[("PAYMENT_REFUND_WARN_AFTER", "3")]).await;
    fleet.take("inventory").kill();
    let id = fleet.place(&order("pix", SOLD_OUT, 1)).await;
    fleet.reaches(id, "PAYMENT_APPROVED").await;
    fleet.provider().behave(json!({"down": true})).await;
    fleet.spawn("inventory");
    fleet.logs("payment", "refund still failing").await;
    assert_eq!(fleet.get(id).await["status"], "INVENTORY_FAILED");
    fleet.provider().behave(json!({"down": false, "hang_up": true})).await;
    fleet.provider().counts("refunds", 1).await;
    fleet.provider().behave(json!({"hang_up": false})).await;
    assert_eq!(fleet.ends(id).await["status"], "CANCELLED");
    assert_eq!(fleet.provider().total("refunds").await, 1);
    fleet.verify().await;
    fleet.close().await;
}

#[tokio::test]
async fn a_provider_that_is_killed_has_not_forgotten_what_it_promised() {
    let mut fleet = Fleet::start_with_provider(&[]).await;
    fleet.provider().behave(json!({"answer_latency_ms": 20_000})).await;
    let wish = order("pix", PLENTY, 1);
    let orders = join_all((0..10).map(|_| fleet.place(&wish))).await;
    fleet.provider().counts("charges", 10).await;
    let before = fleet.provider().books().await["charges"].clone();
    fleet.provider().kill();
    fleet.provider().restart().await;
    assert_eq!(fleet.provider().books().await["charges"], before);
    for id in &orders {
        assert_eq!(fleet.ends(*id).await["status"], "CONFIRMED");
    }
    assert_eq!(fleet.provider().total("charges").await, 10);
    fleet.verify().await;
    fleet.close().await;
}

#[tokio::test]
async fn a_request_that_the_provider_refuses_waits_until_somebody_mends_it() {
    let mut fleet = Fleet::start_with_provider(&[]).await;
    let provider = fleet.provider().url.clone();
    fleet.take("payment").kill();
    fleet.spawn_as("payment", "astray", &[("PAYMENT_GATEWAY_URL", &format!("{provider}/astray"))]);
    fleet.ready().await;
    let id = fleet.place(&order("pix", PLENTY, 1)).await;
    fleet.logs("astray", "check PAYMENT_GATEWAY_URL").await;
    assert_eq!(fleet.get(id).await["status"], "PENDING");
    assert!(fleet.take("astray").stop().await.0.success());
    // The next try would be in a minute.
    let due = "UPDATE payments SET due_at = now() WHERE order_id = $1";
    sqlx::query(due).bind(id).execute(&fleet.pool("payment").await).await.unwrap();
    fleet.spawn("payment");
    assert_eq!(fleet.ends(id).await["status"], "CONFIRMED");
    fleet.verify().await;
    fleet.close().await;
}
