//! Fills the snapshot of the whole system that the invariants check.

use crate::{inventory::Stock, order::Orders, payment::Payments, shipping::Shipments};
use audit::{
    DeadLetter, Digest, EventRow, Fact, Order, Payment, Product, Reservation, Shipment, Snapshot,
    name,
};
use events::{Event, PaymentApproved, PaymentReversed};
use messaging::{MemoryBroker, Message, Outgoing, QueueShape, header};
use std::{collections::BTreeMap, fmt::Debug, str::FromStr};

/// The services' own tables.
pub fn read_rows(
    snapshot: &mut Snapshot,
    orders: &Orders,
    payments: &Payments,
    stock: &Stock,
    shipments: &Shipments,
) {
    snapshot.orders = orders.rows.values().map(|row| order(&row.view)).collect();
    snapshot.payments = payments.values().map(|row| payment(&row.charge)).collect();
    snapshot.products.extend(stock.products.iter().map(|(id, product)| Product {
        id: *id,
        total: signed(product.total),
        reserved: signed(product.reserved),
    }));
    snapshot.reservations.extend(stock.reservations.iter().map(|(order, held)| Reservation {
        order_id: *order,
        status: same(held.status.name()),
        items: held.quantities.iter().map(|(id, count)| (*id, signed(*count))).collect(),
    }));
    snapshot.refusals.extend(&stock.refused);
    for (&order_id, dispatch) in shipments {
        snapshot.cancel_marks.extend(dispatch.cancel_marked.then_some(order_id));
        snapshot.shipments.extend(dispatch.shipment.as_ref().map(|shipment| Shipment {
            order_id,
            status: same(shipment.status.name()),
            tracking_code: shipment.tracking_code.clone(),
        }));
    }
}

/// The tables that every service has.
pub fn read_messages(
    snapshot: &mut Snapshot,
    service: &str,
    handled: impl Iterator<Item = messaging::Handled>,
    unsent: impl Iterator<Item = Outgoing>,
) {
    let handled = handled.map(|row| EventRow {
        event_id: row.event_id,
        event: name(row.event),
        order_id: row.order_id,
        digest: short(&row.digest),
    });
    snapshot.handled.insert(service.into(), handled.collect());
    let unsent = unsent.map(|event| EventRow {
        event_id: event.id,
        event: name(&event.event),
        order_id: event.order_id,
        digest: short(&event.publication().message.digest()),
    });
    snapshot.outboxes.insert(service.into(), unsent.collect());
}

pub fn read_broker(
    snapshot: &mut Snapshot,
    broker: &MemoryBroker,
    queues: &BTreeMap<String, QueueShape>,
) {
    for (queue, shape) in queues {
        if *shape == QueueShape::Parked {
            let letters = broker.messages(queue).into_iter();
            snapshot.dead_letters.extend(letters.map(|letter| dead_letter(queue, &letter)));
        } else {
            snapshot.queues.insert(queue.clone(), broker.depth(queue) as u64);
        }
    }
}

fn order(view: &order::View) -> Order {
    let facts = view.order.timeline().iter().map(|fact| {
        let money = [PaymentApproved::NAME, PaymentReversed::NAME].contains(&fact.event);
        Fact {
            event: name(fact.event),
            event_id: fact.event_id,
            caused_by: fact.caused_by,
            reason: fact.detail["reason"].as_str().map(Into::into),
            amount: money.then(|| fact.detail["amount"].to_string().parse().ok()).flatten(),
        }
    });
    Order {
        id: view.id,
        status: same(view.order.status().name()),
        total: view.total_amount.decimal(),
        facts: facts.collect(),
    }
}

fn payment(charge: &payment::Charge) -> Payment {
    Payment {
        order_id: charge.order_id,
        status: same(charge.status.name()),
        amount: charge.amount.decimal(),
        attempts: charge.attempts,
        provider_ref: charge.provider_ref.clone(),
        refund_ref: charge.refund_ref.clone(),
    }
}

fn dead_letter(queue: &str, letter: &Message) -> DeadLetter {
    DeadLetter {
        queue: queue.into(),
        message_id: letter.id.clone(),
        order_id: letter.correlation_id.as_ref().and_then(|id| id.parse().ok()),
        event: letter.kind.clone(),
        reason: letter.text(header::REASON),
        digest: letter.digest().try_into().ok(),
    }
}

/// The same state, by its name.
fn same<T: FromStr<Err: Debug>>(name: &str) -> T {
    name.parse().expect("services and invariants know the same states")
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn short(digest: &[u8]) -> Digest {
    digest.try_into().expect("half of a SHA-256")
}
