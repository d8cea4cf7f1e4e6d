//! A provider that decides later, and one whose answers are about something else.

use e2e::{Fleet, PLENTY, order, until};
use futures::future::join_all;
use serde_json::json;

#[tokio::test]
async fn what_is_pending_is_asked_for_until_it_is_decided_and_charged_once() {
    let mut fleet = Fleet::start_with_provider(&[("PAYMENT_REAP_AFTER", "2s")]).await;
    let pending = json!({"lies": ["pending"], "share": 1, "pending_ms": 30000});
    fleet.provider().behave(pending).await;
    let wishes = ["pix", "card_declined", "pix"].map(|method| order(method, PLENTY, 1));
    let orders = join_all(wishes.iter().map(|wish| fleet.place(wish))).await;
    fleet.provider().counts("pending", 3).await;
    fleet.provider().behave(json!({"lies": []})).await;
    // What it was told so far is in its database.
    fleet.take("payment").kill();
    assert_eq!(fleet.cancel(orders[2]).await, 202);
    fleet.spawn("payment");
    let ended = join_all(orders.iter().map(|id| fleet.ends(*id))).await;
    let ends: Vec<_> = ended.iter().map(|order| order["status"].as_str().unwrap()).collect();
    assert_eq!(ends, ["CONFIRMED", "PAYMENT_FAILED", "CANCELLED"]);
    let provider = fleet.provider();
    assert_eq!((provider.charges_of(orders[0]).await, provider.total("charges").await), (1, 1));
    assert_eq!((provider.total("voided").await, provider.total("declined").await), (1, 1));
    let calls = provider.total("calls").await;
    assert!(calls < 30, "{calls} calls: it asks with backoff");
    fleet.verify().await;
    fleet.close().await;
}

#[tokio::test]
async fn an_approval_of_another_amount_confirms_no_order() {
    let mut fleet = Fleet::start_with_provider(&[]).await;
    fleet.provider().behave(json!({"amount_off": 1})).await;
    let wish = order("pix", PLENTY, 1);
    let (kept, cancelled) = tokio::join!(fleet.place(&wish), fleet.place(&wish));
    assert_eq!(fleet.cancel(cancelled).await, 202);
    for id in [kept, cancelled] {
        until(|| async {
            let log = fleet.process("payment").log();
            let is_said = log.lines().any(|line| {
                line.contains(
                    "ERROR the provider's answer is about something else (it is for the \
                               amount 49.91)",
                ) && line.contains(&id.to_string())
            });
            if is_said { Ok(()) } else { Err(log) }
        })
        .await;
    }
    assert_eq!(fleet.get(kept).await["status"], "PENDING");
    fleet.provider().behave(json!({"amount_off": 0})).await;
    assert_eq!(fleet.ends(kept).await["status"], "CONFIRMED");
    assert_eq!(fleet.ends(cancelled).await["status"], "CANCELLED");
    assert_eq!(fleet.provider().charges_of(kept).await, 1);
    fleet.verify().await;
    fleet.close().await;
}
