//! Messages that fail transiently pass the retry tiers of a real broker, and succeed or become dead
//! letters.

use e2e::{Fleet, OVERSIZED, PLENTY, mend, order, refuse};
use messaging::header;

#[tokio::test]
async fn a_message_that_cannot_be_saved_is_dead_after_the_last_tier_and_its_replay_is_handled() {
    let fleet = Fleet::start().await;
    let stock = fleet.pool("inventory").await;
    refuse(&stock, "reservation_items", "quantity <> 7").await;
    let culprit = fleet.place(&order("pix", PLENTY, 7)).await;
    let neighbour = fleet.place(&order("pix", PLENTY, 1)).await;
    assert_eq!(fleet.ends(neighbour).await["status"], "CONFIRMED");

    let queue = "inventory.payment-approved";
    let dead = fleet.dead_letter(queue).await;
    assert_eq!(dead.correlation_id, Some(culprit.to_string()));
    assert_eq!(dead.number(header::ATTEMPT), Some(4), "the first try and three tiers");
    assert!(dead.text(header::REASON).unwrap().contains("fault"), "{dead:?}");
    assert!(dead.text(header::TRACE).unwrap().starts_with("00-"), "its trace goes with it");
    assert!(dead.text(header::CAUSE).is_some(), "and its cause");
    assert_eq!(fleet.get(culprit).await["status"], "PAYMENT_APPROVED");

    mend(&stock, "reservation_items").await;
    fleet.broker.put(queue, &dead).await;
    assert_eq!(fleet.ends(culprit).await["status"], "CONFIRMED");
    fleet.verify().await;
    fleet.close().await;
}

#[tokio::test]
async fn a_compensation_is_tried_until_it_succeeds() {
    let fleet = Fleet::start().await;
    let stock = fleet.pool("inventory").await;
    refuse(&stock, "reservations", "status <> 'RELEASED'").await;
    let id = fleet.place(&order("pix", OVERSIZED, 1)).await;
    fleet.reaches(id, "SHIPPING_FAILED").await;
    // The tiers are 200, 400 and 800 ms: more failures than tiers means that the top one repeats.
    fleet.logs("inventory", "failures=6").await;
    mend(&stock, "reservations").await;
    assert_eq!(fleet.ends(id).await["status"], "CANCELLED");
    assert_eq!(fleet.broker.drain("inventory.shipping-failed.dlq").await, []);
    fleet.verify().await;
    fleet.close().await;
}
