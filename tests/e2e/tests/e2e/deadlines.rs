//! An order past its deadline is cancelled; an order whose events the order service has not yet
//! consumed is not.

use e2e::{Fleet, Order, PLENTY, order, until};
use std::time::Duration;
use tokio::time::sleep;

const DEADLINE: (&str, &str) = ("ORDER_DEADLINE", "2s");
const OVERDUE: Duration = Duration::from_secs(3);

fn cancel_requests(order: &Order) -> Vec<&Order> {
    let timeline = order["timeline"].as_array().expect("there is a timeline");
    timeline.iter().filter(|step| step["event"] == "order.cancel-requested").collect()
}

#[tokio::test]
async fn what_makes_no_progress_asks_for_its_own_cancellation() {
    let mut fleet = Fleet::start_with(&[DEADLINE]).await;
    fleet.take("payment").kill();
    let id = fleet.place(&order("credit_card", PLENTY, 1)).await;
    let waiting = until(|| async {
        let now = fleet.get(id).await;
        if cancel_requests(&now).is_empty() { Err(now) } else { Ok(now) }.map_err(|o| o.to_string())
    })
    .await;
    assert_eq!(cancel_requests(&waiting)[0]["detail"]["reason"], "deadline");
    assert_eq!(waiting["status"], "PENDING");
    // The cancel request has no consumer either: the order shows which service owes the next step,
    // and that it is stuck.
    let stuck = until(|| async {
        let now = fleet.get(id).await;
        if now["waits_for"][0]["stuck"] == true { Ok(now) } else { Err(now.to_string()) }
    })
    .await;
    assert_eq!(stuck["waits_for"][0]["service"], "payment");
    fleet.spawn("payment");
    let ended = fleet.ends(id).await;
    assert_eq!(ended["status"], "CANCELLED");
    assert_eq!(ended["waits_for"].as_array().map(Vec::len), Some(0));
    assert_eq!(cancel_requests(&ended).len(), 1);
    fleet.drained().await;
    fleet.verify().await;
    fleet.close().await;
}

#[tokio::test]
async fn an_outage_of_order_itself_cancels_nothing() {
    let mut fleet = Fleet::start().await;
    fleet.take("inventory").kill();
    let id = fleet.place(&order("credit_card", PLENTY, 1)).await;
    fleet.reaches(id, "PAYMENT_APPROVED").await;
    fleet.take("order").kill();
    fleet.spawn("inventory");
    fleet.holds("order.shipping-scheduled", 1).await;
    sleep(OVERDUE).await;
    // Order cannot consume for a while yet, and its deadline job runs meanwhile.
    let pool = fleet.pool("order").await;
    let mut inbox_lock = pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE idempotency_keys IN EXCLUSIVE MODE")
        .execute(&mut *inbox_lock)
        .await
        .unwrap();
    fleet.spawn_as("order", "order", &[DEADLINE]);
    fleet.ready().await;
    sleep(OVERDUE).await;
    inbox_lock.rollback().await.unwrap();
    let ended = fleet.ends(id).await;
    assert_eq!((ended["status"].as_str(), cancel_requests(&ended).len()), (Some("CONFIRMED"), 0));
    fleet.drained().await;
    fleet.verify().await;
    fleet.close().await;
}
