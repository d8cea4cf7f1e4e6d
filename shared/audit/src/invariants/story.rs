//! 1. Every order answered 201 exists and reaches exactly one final state, by a legal chain of
//!    causes. And an order whose cancel was answered 202 never ends CONFIRMED.

use super::{
    Found, Violation,
    index::{Index, Known, View},
};
use crate::{Fact, Order, OrderStatus};
use events::{
    Event, EventId, InventoryFailed, InventoryReserved, OPENINGS, OrderCancelRequested,
    OrderCreated, OrderId, PaymentApproved, PaymentFailed, PaymentReversed, SAGA, ShippingFailed,
    ShippingScheduled, said_by,
};

/// Pairs of events of which an order can have only one.
const EXCLUSIVE: [(&str, &str); 4] = [
    (PaymentApproved::NAME, PaymentFailed::NAME),
    (PaymentFailed::NAME, PaymentReversed::NAME),
    (InventoryReserved::NAME, InventoryFailed::NAME),
    (InventoryFailed::NAME, ShippingFailed::NAME),
];

pub fn check(index: &Index<'_>, found: &mut Vec<Violation>) {
    clients_were_told_the_truth(index, found);
    for (id, view) in index.due() {
        match view.orders.as_slice() {
            [] if view.events.is_empty() => continue,
            [] => found.add(1, id, "events refer to an order that does not exist"),
            [order] => has_ended(order, found),
            more => found.add(1, id, format!("there are {} orders of this id", more.len())),
        }
        nothing_is_said_twice(index, id, view, found);
        for fact in view.orders.iter().flat_map(|order| &order.facts) {
            has_a_cause(index, id, fact, found);
        }
        for event in &view.events {
            is_remembered(index, (id, view), *event, found);
        }
    }
}

fn clients_were_told_the_truth(index: &Index<'_>, found: &mut Vec<Violation>) {
    let told = &index.snapshot.told;
    let order_of = |id: &OrderId| index.orders.get(id).and_then(|view| view.orders.first());
    for id in told.placed.iter().flatten().filter(|id| !index.is_excused(**id)) {
        if order_of(id).is_none() {
            found.add(1, *id, "was answered 201, and does not exist");
        }
    }
    for id in told.cancelled.iter().flatten().filter(|id| !index.is_excused(**id)) {
        if order_of(id).is_some_and(|order| order.status == OrderStatus::Confirmed) {
            found.add(1, *id, "is CONFIRMED, though its cancel was answered 202");
        }
    }
}

fn has_ended(order: &Order, found: &mut Vec<Violation>) {
    if !order.status.is_final() {
        found.add(1, order.id, format!("stays {}", order.status));
    }
    let has = |event: &str| order.facts.iter().any(|fact| fact.event == event);
    if !has(OrderCreated::NAME) {
        found.add(1, order.id, "does not remember how it was placed");
    }
    let by_facts = status_by_facts(order, has);
    if order.status != by_facts {
        let why = format!("is {}, but its facts make it {by_facts}", order.status);
        found.add(1, order.id, why);
    }
    for (one, other) in EXCLUSIVE {
        if has(one) && has(other) {
            found.add(1, order.id, format!("has heard both {one} and {other}"));
        }
    }
    for (place, fact) in order.facts.iter().enumerate().filter(|(_, fact)| fact.caused_by.is_some())
    {
        let service = said_by(&fact.event);
        let mut later = order.facts[place + 1..].iter();
        let twin =
            |other: &&Fact| other.caused_by == fact.caused_by && said_by(&other.event) == service;
        if let Some(twin) = later.find(twin) {
            let why =
                format!("{service} has said both {} and {} to one event", fact.event, twin.event);
            found.add(1, order.id, why);
        }
    }
}

/// The rule of the design, first match.
fn status_by_facts(order: &Order, has: impl Fn(&str) -> bool) -> OrderStatus {
    let goods_failed = has(InventoryFailed::NAME) || has(ShippingFailed::NAME);
    let all_done = [PaymentApproved::NAME, InventoryReserved::NAME, ShippingScheduled::NAME];
    if let Some(failed) = order.facts.iter().find(|fact| fact.event == PaymentFailed::NAME) {
        let cancelled = failed.reason.as_deref() == Some("cancelled");
        if cancelled { OrderStatus::Cancelled } else { OrderStatus::PaymentFailed }
    } else if has(PaymentReversed::NAME) {
        if goods_failed { OrderStatus::Cancelled } else { OrderStatus::PaymentReversed }
    } else if has(ShippingFailed::NAME) {
        OrderStatus::ShippingFailed
    } else if has(InventoryFailed::NAME) {
        OrderStatus::InventoryFailed
    } else if all_done.into_iter().all(&has) && !has(OrderCancelRequested::NAME) {
        OrderStatus::Confirmed
    } else if has(InventoryReserved::NAME) || has(ShippingScheduled::NAME) {
        OrderStatus::InventoryReserved
    } else if has(PaymentApproved::NAME) {
        OrderStatus::PaymentApproved
    } else {
        OrderStatus::Pending
    }
}

/// Charges and reversals are `money::once`'s.
fn nothing_is_said_twice(
    index: &Index<'_>,
    id: OrderId,
    view: &View<'_>,
    found: &mut Vec<Violation>,
) {
    let money = [PaymentApproved::NAME, PaymentReversed::NAME];
    for event in events::EVENTS.iter().filter(|event| !money.contains(event)) {
        let times = index.times_said(view, event);
        if times > 1 {
            found.add(1, id, format!("{event} was published {times} times"));
        }
    }
}

fn has_a_cause(index: &Index<'_>, order: OrderId, fact: &Fact, found: &mut Vec<Violation>) {
    let Fact { event, event_id, caused_by, .. } = fact;
    let is_opening = OPENINGS.contains(&&**event);
    let Some(cause) = caused_by else {
        if !is_opening {
            found.add(1, order, format!("{event} {event_id} has no cause"));
        }
        return;
    };
    if index.origin(*event_id) == index.origin(*cause) && event_id != cause {
        return; // A mended message: the old one had the cause.
    }
    if is_opening {
        found.add(1, order, format!("{event} {event_id} is caused by {cause}; nothing causes it"));
        return;
    }
    match index.events.get(cause) {
        Some(known) if known.order_id != order => {
            let other = known.order_id;
            found.add(1, order, format!("{event} is caused by {} of order {other}", known.event));
        }
        Some(known) if !may_cause(known.event, event) => {
            found.add(1, order, format!("{event} is caused by {}", known.event));
        }
        Some(_) => {}
        None if index.may_be_forgotten(*cause) => {}
        None => found.add(1, order, format!("{event} is caused by {cause}, which does not exist")),
    }
}

fn may_cause(heard: &str, said: &str) -> bool {
    SAGA.iter().any(|step| {
        step.service == said_by(said) && step.hears == heard && step.may_say.contains(&said)
    })
}

/// Events that order publishes or consumes are among its facts; an event that only others record
/// has a possible cause.
fn is_remembered(
    index: &Index<'_>,
    (order, view): (OrderId, &View<'_>),
    event_id: EventId,
    found: &mut Vec<Violation>,
) {
    let Known { event, .. } = &index.events[&event_id];
    if index.is_fact(event_id) {
        return;
    }
    if OPENINGS.contains(event) {
        found.add(1, order, format!("handled but never published: {event} {event_id}"));
    } else if index.was_heard(event_id, "order") {
        found.add(1, order, format!("in the inbox, but not in its state: {event} {event_id}"));
    }
    let steps = index.steps().filter(|step| step.may_say.contains(event));
    let mut causes = steps.map(|step| step.hears);
    let is_caused = OPENINGS.contains(event) || causes.any(|cause| index.was_said(view, cause));
    if !is_caused && !index.may_be_forgotten(event_id) {
        found.add(1, order, format!("{event} {event_id} was published without its cause"));
    }
}
