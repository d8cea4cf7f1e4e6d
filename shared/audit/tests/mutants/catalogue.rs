//! The mutants.

use crate::{healthy::*, patch::Of};
use audit::*;
use uuid::Uuid;

/// Its invariant, a part of the expected message, and the patch.
pub type Mutant = (u8, &'static str, fn(&mut Snapshot));

const OTHER: Uuid = Uuid::from_u128(99);

/// Caught at every moment.
pub const ALWAYS: &[Mutant] = &[
    (2, "payment.approved was published 2 times", |s| {
        s.hear("inventory", CONFIRMED, "payment.approved", OTHER);
    }),
    (2, "payment.reversed was published 2 times", |s| {
        s.hear("order", SOLD_OUT, "payment.reversed", OTHER);
    }),
    (2, "it has 2 payments", |s| {
        let again = s.payment(CONFIRMED).clone();
        s.payments.push(again);
    }),
    (2, "the provider has 2 charges", |s| {
        let again = s.books().charges[0].clone();
        s.books().charges.push(Booking { key: OTHER, ..again });
    }),
    (2, "the provider has 2 refunds", |s| {
        let again = s.books().refunds[0].clone();
        s.books().refunds.push(again);
    }),
    (3, "-1 reserved of 10", |s| s.products[0].reserved = -1),
    (3, "2 reserved of 1", |s| s.products[0].total = 1),
    (3, "says 3 reserved; its reservations say 2", |s| s.products[0].reserved = 3),
    (3, "says 2 reserved; its reservations say 4", |s| {
        s.reservation(CANCELLED).status = ReservationStatus::Reserved;
    }),
    (3, "which does not exist", |s| s.reservation(CONFIRMED).items.push((OTHER, 1))),
    (3, "0 of product", |s| s.reservation(CONFIRMED).items.push((PRODUCT, 0))),
    (6, "does not have the same bytes", |s| {
        s.handled.get_mut("order").unwrap()[0].digest = [0; 16];
    }),
    (6, "does not have the same bytes", |s| {
        let forged = EventRow { digest: [0; 16], ..s.handled["order"][0].clone() };
        s.outboxes.get_mut("payment").unwrap().push(forged);
    }),
    (6, "there", |s| s.handled.get_mut("order").unwrap()[0].event = name("payment.failed")),
    (6, "there", |s| s.handled.get_mut("order").unwrap()[0].order_id = DECLINED),
];

/// Caught when it is quiet; without meaning while things move.
pub const IN_THE_END: &[Mutant] = &[
    (1, "was answered 201, and does not exist", |s| {
        s.told.placed.as_mut().unwrap().push(OTHER);
    }),
    (1, "is CONFIRMED, though its cancel was answered 202", |s| {
        s.told.cancelled.as_mut().unwrap().push(CONFIRMED);
    }),
    (1, "stays INVENTORY_RESERVED", |s| {
        s.order(CONFIRMED).status = OrderStatus::InventoryReserved;
    }),
    (1, "is CANCELLED, but its facts make it PAYMENT_FAILED", |s| {
        s.order(DECLINED).status = OrderStatus::Cancelled;
    }),
    (1, "is CONFIRMED, but its facts make it INVENTORY_RESERVED", |s| {
        let cancel = Fact {
            event: name("order.cancel-requested"),
            event_id: OTHER,
            caused_by: None,
            reason: None,
            amount: None,
        };
        s.order(CONFIRMED).facts.push(cancel);
    }),
    (1, "there are 2 orders of this id", |s| {
        let again = s.order(DECLINED).clone();
        s.orders.push(again);
    }),
    (1, "events refer to an order that does not exist", |s| {
        s.hear("payment", OTHER, "order.created", Uuid::from_u128(98));
    }),
    (1, "does not remember how it was placed", |s| {
        s.order(DECLINED).facts.remove(0);
    }),
    (1, "has heard both payment.approved and payment.failed", |s| {
        let failed = s.fact(DECLINED, "payment.failed").clone();
        s.order(SOLD_OUT).facts.push(Fact { event_id: OTHER, ..failed });
    }),
    (1, "has said both shipping.scheduled and shipping.failed to one event", |s| {
        let cause = s.fact(CANCELLED, "shipping.scheduled").caused_by;
        s.fact(CANCELLED, "shipping.failed").caused_by = cause;
    }),
    (1, "inventory.reserved was published 2 times", |s| {
        s.hear("shipping", CONFIRMED, "inventory.reserved", OTHER);
    }),
    (1, "has no cause", |s| s.fact(CONFIRMED, "payment.approved").caused_by = None),
    (1, "nothing causes it", |s| s.fact(CONFIRMED, "order.created").caused_by = Some(OTHER)),
    (1, "which does not exist", |s| s.fact(CONFIRMED, "payment.approved").caused_by = Some(OTHER)),
    (1, "is caused by order.created of order", |s| {
        let elsewhere = event_id(DECLINED, "order.created");
        s.fact(CONFIRMED, "payment.approved").caused_by = Some(elsewhere);
    }),
    (1, "shipping.scheduled is caused by payment.approved", |s| {
        let skipped = event_id(CONFIRMED, "payment.approved");
        s.fact(CONFIRMED, "shipping.scheduled").caused_by = Some(skipped);
    }),
    (1, "handled but never published: order.cancel-requested", |s| {
        s.hear("payment", CONFIRMED, "order.cancel-requested", OTHER);
    }),
    (1, "in the inbox, but not in its state: payment.failed", |s| {
        s.hear("order", CONFIRMED, "payment.failed", OTHER);
    }),
    (1, "was published without its cause", |s| {
        s.hear("payment", CONFIRMED, "inventory.released", OTHER);
    }),
    (2, "is CONFIRMED, and its payment is REVERSED", |s| {
        s.payment(CONFIRMED).status = PaymentStatus::Reversed;
    }),
    (2, "is CONFIRMED, and its payment is missing", |s| {
        s.payments.retain(|p| p.order_id != CONFIRMED);
    }),
    (2, "is CANCELLED, and its payment is APPROVED", |s| {
        s.payment(SOLD_OUT).status = PaymentStatus::Approved;
    }),
    (2, "is CANCELLED, and its payment is REVERSING", |s| {
        s.payment(SOLD_OUT).status = PaymentStatus::Reversing;
    }),
    (2, "its payment stays PROCESSING", |s| s.payment(DECLINED).status = PaymentStatus::Processing),
    (2, "without the provider's reference", |s| s.payment(CONFIRMED).provider_ref = None),
    (2, "after no attempt", |s| s.payment(CONFIRMED).attempts = 0),
    (2, "with the refund reference none", |s| s.payment(SOLD_OUT).refund_ref = None),
    (2, "with the refund reference REF-9", |s| {
        s.payment(CONFIRMED).refund_ref = Some("REF-9".into());
    }),
    (2, "but its payment says 1", |s| s.payment(CONFIRMED).amount = 1.into()),
    (2, "but payment.approved says 1", |s| {
        s.fact(CONFIRMED, "payment.approved").amount = Some(1.into());
    }),
    (2, "but payment.reversed says 1", |s| {
        s.fact(SOLD_OUT, "payment.reversed").amount = Some(1.into());
    }),
    (2, "the provider's charge 1", |s| s.books().charges[0].amount = 1.into()),
    (2, "the provider's refund 1", |s| s.books().refunds[0].amount = 1.into()),
    (2, "CONFIRMED at 0 charges", |s| s.books().charges.retain(|b| b.order_id != CONFIRMED)),
    (2, "CANCELLED at 1 charges and 0 refunds", |s| s.books().refunds.clear()),
    (2, "unknown", |s| s.books().charges[0].order_id = OTHER),
    (4, "is CONFIRMED, and has 0 live shipments", |s| {
        s.shipment(CONFIRMED).status = ShipmentStatus::Cancelled;
    }),
    (4, "is CONFIRMED, and has 2 live shipments", |s| {
        let again = s.shipment(CONFIRMED).clone();
        s.shipments.push(again);
    }),
    (4, "is not CONFIRMED, and has 1 live shipments", |s| {
        s.shipment(CANCELLED).status = ShipmentStatus::Scheduled;
    }),
    (4, "is not CONFIRMED, and has 1 live shipments", |s| s.shipments[0].order_id = OTHER),
    (4, "is CONFIRMED, and has 0 live reservations", |s| {
        s.reservation(CONFIRMED).status = ReservationStatus::Released;
        s.products[0].reserved = 0;
    }),
    (4, "is not CONFIRMED, and has 1 live reservations", |s| {
        s.reservation(CANCELLED).status = ReservationStatus::Reserved;
        s.products[0].reserved = 4;
    }),
    (4, "has refused it, and has a reservation", |s| s.refusals.push(CONFIRMED)),
    (4, "knows that it is cancelled, and ships it", |s| s.cancel_marks.push(CONFIRMED)),
    (5, "is still in payment's outbox", |s| {
        let unsent = s.handled["order"][0].clone();
        s.outboxes.get_mut("payment").unwrap().push(unsent);
    }),
    (5, "order.payment-failed still holds 1", |s| {
        s.queues.insert("order.payment-failed".into(), 1);
    }),
    (5, "payment.retry.5s still holds 2", |s| {
        s.queues.insert("payment.retry.5s".into(), 2);
    }),
    (5, "shipping has not handled order.cancel-requested", |s| {
        s.unhear("shipping", NEVER_CHARGED, "order.cancel-requested");
    }),
    (5, "payment has not handled order.created", |s| {
        s.unhear("payment", DECLINED, "order.created");
    }),
    (5, "inventory has not handled payment.approved", |s| {
        s.handled.remove("inventory");
    }),
    (5, "shipping has handled payment.approved, which is not for it", |s| {
        s.hear("shipping", CONFIRMED, "payment.approved", event_id(CONFIRMED, "payment.approved"));
    }),
    (5, "unexpected dead letter", |s| {
        s.park("order.payment-failed.dlq", DECLINED, "payment.failed");
        s.poisoned = Some(Vec::new());
    }),
];
