//! Messages that arrive twice, are malformed, or have no subscriber.

use crate::metrics::{page, value};
use crate::why::{place, told};
use e2e::{Fleet, OVERSIZED, PLENTY, SOLD_OUT, order, until};
use events::{Event, PaymentApproved, SAGA};
use messaging::{header, queue_name};
use saga_cli::why::{Place, Report};

#[tokio::test]
async fn a_second_delivery_of_every_event_has_no_effect() {
    let mut fleet = Fleet::start().await;
    fleet.broker.tap().await;
    let wishes = [order("pix", PLENTY, 1), order("pix", OVERSIZED, 1), order("pix", SOLD_OUT, 1)];
    let mut orders = Vec::new();
    for wish in wishes.iter().chain([&order("card_declined", PLENTY, 1)]) {
        let id = fleet.place(wish).await;
        fleet.ends(id).await;
        orders.push(id);
    }
    let cancelled = fleet.place(&order("card_flaky", PLENTY, 1)).await;
    assert_eq!(fleet.cancel(cancelled).await, 202);
    fleet.ends(cancelled).await;
    orders.push(cancelled);
    fleet.drained().await;
    let said = fleet.broker.untap().await;
    let (before, states) = (fleet.views(&orders).await, fleet.tables().await);
    let kinds: std::collections::BTreeSet<_> =
        said.iter().filter_map(|message| message.kind.as_deref()).collect();
    assert!(kinds.iter().eq(sorted(events::EVENTS).iter()), "all ten events were said: {kinds:?}");
    fleet.broker.tap().await;
    for message in &said {
        let kind = message.kind.as_deref().unwrap_or_default();
        for step in SAGA.iter().filter(|step| step.hears == kind) {
            fleet.broker.put(&queue_name(step.service, step.hears), message).await;
        }
    }
    fleet.drained().await;
    assert_eq!(fleet.views(&orders).await, before);
    assert_eq!(fleet.tables().await, states);
    assert_eq!(fleet.broker.untap().await, [], "nobody says anything about it");
    fleet.verify().await;
    fleet.close().await;
}

fn sorted<'a>(names: &[&'a str]) -> Vec<&'a str> {
    let mut names = names.to_vec();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn other_bytes_under_a_known_id_are_dead() {
    let fleet = Fleet::start().await;
    fleet.broker.tap().await;
    let id = fleet.place(&order("pix", PLENTY, 1)).await;
    fleet.ends(id).await;
    let said = fleet.broker.untap().await;
    let approved =
        said.into_iter().find(|said| said.kind.as_deref() == Some(PaymentApproved::NAME));
    let mut forged = approved.expect("it was said");
    forged.body.push(b' ');
    fleet.broker.put("inventory.payment-approved", &forged).await;
    let dead = fleet.dead_letter("inventory.payment-approved").await;
    assert!(dead.text(header::REASON).unwrap().contains("another body"), "{dead:?}");
    fleet.verify().await;
    fleet.close().await;
}

#[tokio::test]
async fn what_no_history_allows_is_dead_at_once() {
    let fleet = Fleet::start().await;
    let nobody = e2e::product(77);
    let released = reaction::Said::new(&events::InventoryReleased { order_id: nobody });
    let released = messaging::Outgoing::new(&messaging::SystemEnv, released, None).publication();
    fleet.broker.publish(&released).await;
    let dead = fleet.dead_letter("payment.inventory-released").await;
    assert!(dead.text(header::REASON).unwrap().contains("this order was never charged"));
    assert_eq!(dead.number(header::ATTEMPT), Some(0));
    fleet.close().await;
}

#[tokio::test]
async fn an_event_that_no_queue_hears_waits_in_the_outbox_until_one_does() {
    let fleet = Fleet::start().await;
    let way = ("payment.order-created", "order.exchange", "order.created");
    fleet.broker.unbind(way.0, way.1, way.2).await;
    let id = fleet.place(&order("pix", PLENTY, 1)).await;
    fleet.is_unroutable("order").await;
    let waits =
        |report: &Report| matches!(place(report), Some(Place::Outbox { last_error: Some(_), .. }));
    assert_eq!(told(&fleet, id, waits).await.missing.len(), 1);
    until(|| async {
        let page = page(&fleet).await;
        let (count, age) = (value(&page, "outbox_events"), value(&page, "outbox_oldest_seconds"));
        if count == Some(1.0) && age >= Some(1.0) { Ok(()) } else { Err(page) }
    })
    .await;
    assert_eq!(fleet.get(id).await["status"], "PENDING");
    fleet.broker.bind(way.0, way.1, way.2).await;
    assert_eq!(fleet.ends(id).await["status"], "CONFIRMED");
    fleet.verify().await;
    fleet.close().await;
}
