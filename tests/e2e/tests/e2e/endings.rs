//! Checks every ending of CONTRACT's table by HTTP, and that money and stock agree with it.

use e2e::{Fleet, LIMITED, OVERSIZED, PLENTY, SOLD_OUT, order, until};
use serde_json::Value;
use uuid::Uuid;

fn events(order: &Value) -> Vec<&str> {
    let timeline = order["timeline"].as_array().expect("a timeline");
    timeline.iter().filter_map(|step| step["event"].as_str()).collect()
}

fn detail<'a>(order: &'a Value, event: &str) -> &'a Value {
    let timeline = order["timeline"].as_array().expect("a timeline");
    &timeline.iter().find(|step| step["event"] == event).expect("it is told")["detail"]
}

#[tokio::test]
async fn every_ending_can_be_asked_for() {
    let fleet = Fleet::start().await;
    tokio::join!(
        confirmed(&fleet),
        declined(&fleet),
        unavailable(&fleet),
        flaky(&fleet),
        out_of_stock(&fleet),
        carrier_refuses(&fleet),
    );
    fleet.verify().await;
    fleet.close().await;
}

/// The order's queues have no order among them: a final order may still receive earlier events.
async fn tells(fleet: &Fleet, id: Uuid, story: &[&str]) {
    until(|| async {
        let now = fleet.get(id).await;
        if events(&now) == story { Ok(()) } else { Err(now.to_string()) }
    })
    .await;
}

async fn confirmed(fleet: &Fleet) {
    for method in ["credit_card", "debit_card", "pix", "bank_transfer"] {
        let id = fleet.place(&order(method, PLENTY, 2)).await;
        let ended = fleet.ends(id).await;
        assert_eq!(ended["status"], "CONFIRMED", "{ended}");
        let told =
            ["order.created", "payment.approved", "inventory.reserved", "shipping.scheduled"];
        assert_eq!(events(&ended), told);
        assert_eq!(ended["tracking_code"], format!("TRK-{}", &id.simple().to_string()[24..]));
        assert_eq!(ended["total_amount"].to_string(), "99.80");
    }
}

async fn declined(fleet: &Fleet) {
    let ended = fleet.ends(fleet.place(&order("card_declined", PLENTY, 1)).await).await;
    assert_eq!(ended["status"], "PAYMENT_FAILED", "{ended}");
    assert_eq!(events(&ended), ["order.created", "payment.failed"]);
    assert_eq!(detail(&ended, "payment.failed")["reason"], "declined");
    assert_eq!(detail(&ended, "payment.failed")["attempts"], 1);
}

async fn unavailable(fleet: &Fleet) {
    let ended = fleet.ends(fleet.place(&order("card_unavailable", PLENTY, 1)).await).await;
    assert_eq!(ended["status"], "PAYMENT_FAILED", "{ended}");
    assert_eq!(detail(&ended, "payment.failed")["reason"], "unavailable");
    assert_eq!(detail(&ended, "payment.failed")["attempts"], 5);
}

async fn flaky(fleet: &Fleet) {
    let id = fleet.place(&order("card_flaky", PLENTY, 1)).await;
    assert_eq!(fleet.ends(id).await["status"], "CONFIRMED");
    let pool = fleet.pool("payment").await;
    let attempts: i32 = sqlx::query_scalar("SELECT attempts FROM payments WHERE order_id = $1")
        .bind(id)
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(attempts, 3);
}

async fn out_of_stock(fleet: &Fleet) {
    const UNKNOWN: u128 = 999;
    for (product, quantity) in [(SOLD_OUT, 1), (LIMITED, 11), (UNKNOWN, 1)] {
        let id = fleet.place(&order("pix", product, quantity)).await;
        assert_eq!(fleet.ends(id).await["status"], "CANCELLED");
        let told = ["order.created", "payment.approved", "inventory.failed", "payment.reversed"];
        tells(fleet, id, &told).await;
    }
}

async fn carrier_refuses(fleet: &Fleet) {
    let id = fleet.place(&order("pix", OVERSIZED, 3)).await;
    let ended = fleet.ends(id).await;
    assert_eq!(ended["status"], "CANCELLED", "{ended}");
    let told = [
        "order.created",
        "payment.approved",
        "inventory.reserved",
        "shipping.failed",
        "payment.reversed",
    ];
    tells(fleet, id, &told).await;
    assert_eq!(detail(&ended, "shipping.failed")["reason"], "carrier_refused");
    let reserved: i64 = sqlx::query_scalar("SELECT quantity_reserved FROM products WHERE id = $1")
        .bind(e2e::product(OVERSIZED))
        .fetch_one(&fleet.pool("inventory").await)
        .await
        .unwrap();
    assert_eq!(reserved, 0);
}

#[tokio::test]
async fn a_slow_charge_is_confirmed_or_cancelled_with_the_money_back() {
    let settings = [("PAYMENT_GATEWAY_TIMEOUT", "7s"), ("PAYMENT_REAP_AFTER", "8s")];
    let fleet = Fleet::start_with(&settings).await;
    let wish = order("card_slow", PLENTY, 1);
    let (slow, cancelled) = tokio::join!(fleet.place(&wish), fleet.place(&wish));
    let status = until(|| async {
        let status: Option<String> =
            sqlx::query_scalar("SELECT status FROM payments WHERE order_id = $1")
                .bind(cancelled)
                .fetch_optional(&fleet.pool("payment").await)
                .await
                .unwrap();
        status.filter(|status| status == "PROCESSING").ok_or_else(|| "not in hand".into())
    });
    status.await;
    assert_eq!(fleet.cancel(cancelled).await, 202);
    assert_eq!(fleet.cancel(cancelled).await, 202, "a repeated cancel is no error");
    let (slow, ended) = tokio::join!(fleet.ends(slow), fleet.ends(cancelled));
    assert_eq!(slow["status"], "CONFIRMED");
    assert_eq!(ended["status"], "CANCELLED");
    let whole = until(|| async {
        let now = fleet.get(cancelled).await;
        let told = events(&now);
        let both = ["payment.approved", "payment.reversed"].iter().all(|one| told.contains(one));
        if both { Ok(now) } else { Err(now.to_string()) }
    })
    .await;
    let told = events(&whole);
    assert_eq!(told.iter().filter(|event| **event == "order.cancel-requested").count(), 1);
    fleet.verify().await;
    fleet.close().await;
}

#[tokio::test]
async fn a_cancel_before_the_retry_means_that_nothing_is_ever_charged() {
    let fleet = Fleet::start_with(&[("PAYMENT_RETRY_DELAY", "20s")]).await;
    let id = fleet.place(&order("card_flaky", PLENTY, 1)).await;
    let retrying = until(|| async {
        let row: Option<(String, i32)> =
            sqlx::query_as("SELECT status, attempts FROM payments WHERE order_id = $1")
                .bind(id)
                .fetch_optional(&fleet.pool("payment").await)
                .await
                .unwrap();
        row.filter(|row| *row == ("RETRYING".into(), 2)).ok_or_else(|| "not waiting".into())
    });
    retrying.await;
    assert_eq!(fleet.cancel(id).await, 202);
    let ended = fleet.ends(id).await;
    assert_eq!(ended["status"], "CANCELLED");
    assert_eq!(events(&ended), ["order.created", "order.cancel-requested", "payment.failed"]);
    assert_eq!(fleet.cancel(id).await, 409, "it is final");
    fleet.verify().await;
    fleet.close().await;
}
