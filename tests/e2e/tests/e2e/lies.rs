//! A provider whose answers hide what it did: in the end its books agree with the orders, and it
//! keeps no money of an order that is not CONFIRMED.

use e2e::{Fleet, PLENTY, SOLD_OUT, order, until};
use futures::future::join_all;
use mock_gateway::lies::Lie;
use reqwest::StatusCode;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use uuid::Uuid;

/// A provider that only lies is no outage here: otherwise the circuit breaker would open.
const BREAKER_OFF: (&str, &str) = ("PAYMENT_BREAKER_FAILURES_MAX", "101");

/// Places one order for each ending and one to be cancelled, each with its expected result.
async fn place_all(fleet: &Fleet, orders: &mut BTreeMap<Uuid, &'static str>) -> Uuid {
    let kept = fleet.place(&order("pix", PLENTY, 1)).await;
    let declined = fleet.place(&order("card_declined", PLENTY, 1)).await;
    let short = fleet.place(&order("credit_card", SOLD_OUT, 1)).await;
    let cancelled = fleet.place(&order("pix", PLENTY, 2)).await;
    let ends = ["CONFIRMED", "PAYMENT_FAILED", "CANCELLED", "CANCELLED"];
    orders.extend([kept, declined, short, cancelled].into_iter().zip(ends));
    cancelled
}

async fn told(fleet: &Fleet, lie: &str) -> u64 {
    let books = fleet.provider.as_ref().expect("there is one").books().await;
    books["totals"]["lies"][lie].as_u64().unwrap_or(0)
}

/// The number of charges, less the refunds, of an order at the provider.
fn net_charges(books: &Value, order: Uuid) -> i64 {
    let count = |list: &str| {
        let entries = books[list].as_array().expect("a list").iter();
        entries.filter(|entry| entry["order_id"] == order.to_string()).count() as i64
    };
    count("charges") - count("refunds")
}

async fn end_as_the_books_say(fleet: &mut Fleet, orders: &BTreeMap<Uuid, &'static str>) {
    let ended = join_all(orders.keys().map(|id| fleet.ends(*id))).await;
    // A refund is made before the order is final, and a late charge has been voided.
    let books = fleet.provider().books().await;
    for ((id, wanted), order) in orders.iter().zip(ended) {
        assert_eq!(order["status"], *wanted, "{order}");
        let confirmed = i64::from(*wanted == "CONFIRMED");
        assert_eq!(net_charges(&books, *id), confirmed, "the provider's books of {order}");
    }
    let pool = fleet.pool("payment").await;
    let texts: (Option<i32>, Option<i32>) =
        sqlx::query_as("SELECT MAX(LENGTH(provider_ref)), MAX(LENGTH(last_error)) FROM payments")
            .fetch_one(&pool)
            .await
            .unwrap();
    assert!(texts.0 <= Some(200) && texts.1 <= Some(400), "not bounded: {texts:?}");
    fleet.verify().await;
}

#[tokio::test]
async fn each_lie_about_a_charge_is_looked_through_and_a_cancel_voids_it() {
    let mut fleet = Fleet::start_with_provider(&[BREAKER_OFF]).await;
    let mut orders = BTreeMap::new();
    for lie in &Lie::names() {
        fleet.provider().behave(json!({"lies": [lie], "share": 1, "pending_ms": 2000})).await;
        let cancelled = place_all(&fleet, &mut orders).await;
        until(|| async {
            let told = told(&fleet, lie).await;
            if told >= 4 { Ok(()) } else { Err(format!("{lie} was told {told} times")) }
        })
        .await;
        match fleet.cancel(cancelled).await {
            StatusCode::ACCEPTED => {}
            // That lie is only in the texts: the order may be final by now.
            StatusCode::CONFLICT if lie == "nul" => drop(orders.insert(cancelled, "CONFIRMED")),
            other => panic!("{lie}: a cancel is answered {other}"),
        }
    }
    fleet.provider().behave(json!({"lies": []})).await;
    end_as_the_books_say(&mut fleet, &orders).await;
    fleet.close().await;
}

#[tokio::test]
async fn orders_end_while_the_provider_goes_on_lying() {
    let mut fleet = Fleet::start_with_provider(&[BREAKER_OFF]).await;
    fleet.provider().behave(json!({"lies": Lie::names(), "share": 0.4, "seed": 7})).await;
    let mut orders = BTreeMap::new();
    for _ in 0..10 {
        let cancelled = place_all(&fleet, &mut orders).await;
        if fleet.cancel(cancelled).await == StatusCode::CONFLICT {
            orders.insert(cancelled, "CONFIRMED");
        }
    }
    end_as_the_books_say(&mut fleet, &orders).await;
    fleet.close().await;
}
