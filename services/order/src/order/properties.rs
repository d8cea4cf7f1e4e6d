//! Property tests: an order's final state depends on neither the arrival order nor the repetition
//! of its events.

use super::*;
use crate::on::testing::order_id;
use events::{InventoryFailed as Short, Money, PaymentFailure, ShippingFailure};
use proptest::{prelude::*, sample::Index};
use reaction::{On, scenario::heard};
use serde_json::json;

type Step = fn(Order, i64) -> Order;

/// The events that order consumes on each legal path to an end; after the cancel, those that may
/// follow it.
const WAYS: [&[Step]; 8] = [
    &[approved, reserved, scheduled],
    &[declined],
    &[approved, short, reversed],
    &[approved, reserved, refused, reversed],
    &[cancel, never_tried],
    &[cancel, declined],
    &[cancel, approved, reserved, scheduled, voided, reversed],
    &[cancel, approved, short, reversed],
];

fn hear<E: Event>(order: Order, at: i64, event: E) -> Order
where
    Order: On<E>,
{
    let at = DateTime::from_timestamp_millis(at).unwrap();
    match order.clone().on(&Heard { at, ..heard(event) }) {
        Decision::Change { state, says } => {
            assert_eq!(says, []);
            state
        }
        Decision::Nothing => order,
        Decision::Impossible(reason) => panic!("{reason}"),
    }
}

fn own<E: Event>(mut order: Order, at: i64) -> Order {
    let event_id = EventId::new_v5(&order_id(), E::NAME.as_bytes());
    let at = DateTime::from_timestamp_millis(at).unwrap();
    order.remember(Fact { event: E::NAME, event_id, at, caused_by: None, detail: json!({}) });
    order
}

fn cancel(order: Order, at: i64) -> Order {
    own::<OrderCancelRequested>(order, at)
}

fn approved(order: Order, at: i64) -> Order {
    let (amount, items) = (Money::cents(100), vec![]);
    let event =
        PaymentApproved { order_id: order_id(), amount, provider_ref: "ch_1".into(), items };
    hear(order, at, event)
}

fn payment_failed(order: Order, at: i64, reason: PaymentFailure) -> Order {
    hear(order, at, PaymentFailed { order_id: order_id(), reason, attempts: 1 })
}

fn declined(order: Order, at: i64) -> Order {
    payment_failed(order, at, PaymentFailure::Declined)
}

fn never_tried(order: Order, at: i64) -> Order {
    payment_failed(order, at, PaymentFailure::Cancelled)
}

fn reversed(order: Order, at: i64) -> Order {
    let (amount, refund_ref) = (Money::cents(100), "re_1".into());
    hear(order, at, PaymentReversed { order_id: order_id(), amount, refund_ref })
}

fn reserved(order: Order, at: i64) -> Order {
    hear(order, at, InventoryReserved { order_id: order_id(), items: vec![] })
}

fn short(order: Order, at: i64) -> Order {
    hear(order, at, Short { order_id: order_id(), short: vec![] })
}

fn scheduled(order: Order, at: i64) -> Order {
    let (tracking_code, freight) = ("TRK-00000001".into(), Money::cents(1150));
    let order_id = order_id();
    hear(order, at, ShippingScheduled { order_id, tracking_code, freight, delivery_days: 3 })
}

fn refused(order: Order, at: i64) -> Order {
    let reason = ShippingFailure::CarrierRefused;
    hear(order, at, ShippingFailed { order_id: order_id(), reason })
}

fn voided(order: Order, at: i64) -> Order {
    hear(order, at, ShippingFailed { order_id: order_id(), reason: ShippingFailure::Cancelled })
}

proptest! {
    #[test]
    fn neither_order_nor_repetition_matters(
        way in prop::sample::select(WAYS.as_slice()),
        chosen in prop::collection::vec(any::<bool>(), 8),
        // Few instants, so that many events share theirs.
        at in prop::collection::vec(0_i64..4, 8),
        deliveries in prop::collection::vec(any::<Index>(), 0..40),
    ) {
        let subset: Vec<(Step, i64)> =
            way.iter().zip(&at).zip(&chosen).filter(|(_, taken)| **taken)
                .map(|((step, at), _)| (*step, *at)).collect();
        let placed = own::<OrderCreated>(Order::default(), 0);
        let told = subset.iter().fold(placed.clone(), |order, (step, at)| step(order, *at));

        let mut jumbled = placed;
        if !subset.is_empty() {
            for delivery in &deliveries {
                let (step, at) = delivery.get(&subset);
                jumbled = step(jumbled, *at);
            }
        }
        for (step, at) in subset.iter().rev() {
            jumbled = step(jumbled, *at);
        }
        prop_assert_eq!(jumbled.status(), told.status());
        prop_assert_eq!(jumbled.timeline(), told.timeline());
        prop_assert!(told.timeline().is_sorted_by_key(|fact| fact.at));
    }

    #[test]
    fn a_cancelled_way_never_shows_a_confirmed_order(
        way in prop::sample::select(&WAYS[4..]),
        chosen in prop::collection::vec(any::<bool>(), 8),
    ) {
        let mut order = cancel(own::<OrderCreated>(Order::default(), 0), 1);
        for (step, _) in way.iter().zip(&chosen).filter(|(_, taken)| **taken) {
            order = step(order, 2);
            prop_assert_ne!(order.status(), Status::Confirmed);
        }
    }
}

#[test]
fn every_way_ends_in_a_final_status() {
    for way in WAYS {
        let placed = own::<OrderCreated>(Order::default(), 0);
        let order = way.iter().zip(1..).fold(placed, |order, (step, at)| step(order, at));
        assert!(order.status().is_final(), "{:?}", order.status());
    }
}
