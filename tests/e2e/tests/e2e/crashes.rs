//! `kill -9` in mid-flight: the saga ends, and nothing happens twice.

use e2e::{Fleet, PLENTY, SERVICES, order, until};
use futures::future::join_all;
use serde_json::{Value, json};
use uuid::Uuid;

/// A mix that keeps every service busy in every direction.
fn mix() -> Vec<Value> {
    let wishes = ["pix", "card_flaky", "card_declined", "credit_card"].map(|m| order(m, PLENTY, 1));
    let unhappy = [e2e::SOLD_OUT, e2e::OVERSIZED].map(|product| order("pix", product, 1));
    wishes.into_iter().chain(unhappy).cycle().take(60).collect()
}

#[tokio::test]
async fn each_service_is_killed_in_mid_flight_and_every_order_still_ends() {
    let mut fleet = Fleet::start().await;
    let mut placed: Vec<Uuid> = Vec::new();
    for victim in SERVICES {
        let wishes = mix();
        let orders = join_all(wishes.iter().map(|wish| fleet.place(wish))).await;
        placed.extend(&orders);
        // The orders are at every stage by now; the first has just ended.
        fleet.ends(orders[0]).await;
        fleet.take(victim).kill();
        fleet.spawn(victim);
        fleet.ready().await;
    }
    join_all(placed.iter().map(|id| fleet.ends(*id))).await;
    fleet.verify().await;
    fleet.close().await;
}

/// No claim expires within the test: who lives on must see that its holder is dead.
#[tokio::test]
async fn another_copy_finishes_the_charge_of_a_dead_one_and_does_not_repeat_it() {
    let settings = [("PAYMENT_GATEWAY_TIMEOUT", "10m"), ("PAYMENT_REAP_AFTER", "1h")];
    let mut fleet = Fleet::start_with_provider(&settings).await;
    fleet.provider().behave(json!({"answer_latency_ms": 600_000})).await;
    let id = fleet.place(&order("pix", PLENTY, 1)).await;
    let pool = fleet.pool("payment").await;
    until(|| async {
        let status: Option<String> =
            sqlx::query_scalar("SELECT status FROM payments WHERE order_id = $1")
                .bind(id)
                .fetch_optional(&pool)
                .await
                .unwrap();
        status.filter(|status| status == "PROCESSING").ok_or_else(|| "not in hand".into())
    })
    .await;
    fleet.spawn_as("payment", "payment-2", &[]);
    fleet.ready().await;
    let holder = "SELECT claimed_by FROM payments WHERE order_id = $1 AND claim IS NOT NULL";
    let held: Option<Option<String>> =
        sqlx::query_scalar(holder).bind(id).fetch_optional(&pool).await.unwrap();
    assert!(held.flatten().is_some(), "a live copy's charge is left to it");
    fleet.provider().behave(json!({"answer_latency_ms": 0})).await;
    fleet.take("payment").kill();
    assert_eq!(fleet.ends(id).await["status"], "CONFIRMED");
    let attempts: i32 = sqlx::query_scalar("SELECT attempts FROM payments WHERE order_id = $1")
        .bind(id)
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(attempts, 1, "it was looked up, not tried again");
    fleet.verify().await;
    fleet.close().await;
}

/// As after a commit whose answer was lost.
#[tokio::test]
async fn a_copy_looks_up_a_charge_that_it_has_claimed_and_does_not_have_in_hand() {
    let settings = [("PAYMENT_RETRY_DELAY", "1h"), ("PAYMENT_REAP_AFTER", "1h")];
    let fleet = Fleet::start_with(&settings).await;
    let pool = fleet.pool("payment").await;
    let id = fleet.place(&order("card_unavailable", PLENTY, 1)).await;
    let claim = "UPDATE payments
        SET claim = charge_key, claimed_at = now(), due_at = NULL, claimed_by = (
            SELECT MIN(application_name)
            FROM pg_stat_activity
            WHERE datname = current_database() AND application_name LIKE 'payment-service %')
        WHERE order_id = $1 AND due_at > now() + INTERVAL '1 minute'";
    until(|| async {
        let claimed = sqlx::query(claim).bind(id).execute(&pool).await.unwrap();
        if claimed.rows_affected() == 1 { Ok(()) } else { Err("no attempt waits".into()) }
    })
    .await;
    until(|| async {
        let is_left = "SELECT (claim = charge_key) IS TRUE FROM payments WHERE order_id = $1";
        let is_left: bool = sqlx::query_scalar(is_left).bind(id).fetch_one(&pool).await.unwrap();
        if is_left { Err("still claimed".into()) } else { Ok(()) }
    })
    .await;
    fleet.close().await;
}
