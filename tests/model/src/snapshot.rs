//! Converts a state of the model into the snapshot that the invariants check.

use crate::{
    cast::{Cast, PRICE},
    provider::{Provider, Word},
    state::{About, Letter, Place, State, order_id},
};
use audit::{
    Booking, DeadLetter, EventRow, Fact, Order, Payment, Product, Reservation, Shipment, Snapshot,
    name,
};
use events::{Event, EventId, Money, OrderCancelRequested, OrderId};
use messaging::{Message, dead_letters, queue_name};

pub fn snapshot(cast: &Cast, state: &State) -> Snapshot {
    let mut whole = Snapshot::default();
    for service in events::SERVICES {
        whole.handled.insert((*service).into(), Vec::new());
        whole.outboxes.insert((*service).into(), Vec::new());
    }
    stock(cast, state, &mut whole);
    let (mut books, mut cancelled) = (audit::Provider::default(), Vec::new());
    for (number, about) in state.orders.iter().enumerate() {
        let id = order_id(number);
        whole.orders.push(order(id, &cast.orders.get(about.order)));
        payment(&cast.payments.get(about.payment), &mut whole);
        shipping(id, &cast.dispatches.get(about.shipping), &mut whole);
        provider(id, &cast.providers.get(about.provider), &mut books);
        mail(cast, about, &mut whole);
        let is_cancelled =
            |letter: &Letter| cast.messages.get(letter.said).event == OrderCancelRequested::NAME;
        cancelled.extend(about.letters().iter().any(is_cancelled).then_some(id));
    }
    whole.provider = Some(books);
    whole.told.placed = Some((0..state.orders.len()).map(order_id).collect());
    whole.told.cancelled = Some(cancelled);
    whole
}

fn order(id: OrderId, known: &order::Order) -> Order {
    let fact = |fact: &order::Fact| Fact {
        event: name(fact.event),
        event_id: fact.event_id,
        caused_by: fact.caused_by,
        reason: fact.detail["reason"].as_str().map(Into::into),
        amount: serde_json::from_value(fact.detail["amount"].clone()).ok().map(Money::decimal),
    };
    let facts = known.timeline().iter().map(fact).collect();
    let status = known.status().name().parse().expect("the names are the same");
    Order { id, status, total: PRICE.decimal(), facts }
}

fn payment(known: &payment::Payment, whole: &mut Snapshot) {
    whole.payments.extend(known.charge.iter().map(|charge| Payment {
        order_id: charge.order_id,
        status: charge.status.name().parse().expect("the names are the same"),
        amount: charge.amount.decimal(),
        attempts: charge.attempts,
        provider_ref: charge.provider_ref.clone(),
        refund_ref: charge.refund_ref.clone(),
    }));
}

fn stock(cast: &Cast, state: &State, whole: &mut Snapshot) {
    let pieces = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let stock = cast.stocks.get(state.stock);
    for (order_id, shelf) in stock.shelves() {
        whole.refusals.extend(shelf.refused.then_some(order_id));
        whole.reservations.extend(shelf.reservation.iter().map(|held| Reservation {
            order_id,
            status: held.status.name().parse().expect("the names are the same"),
            items: held.quantities.iter().map(|(id, count)| (*id, pieces(*count))).collect(),
        }));
    }
    whole.products.extend(stock.products().into_iter().map(|(id, product)| Product {
        id,
        total: pieces(product.total),
        reserved: pieces(product.reserved),
    }));
}

fn shipping(order_id: OrderId, known: &shipping::Dispatch, whole: &mut Snapshot) {
    whole.cancel_marks.extend(known.cancel_marked.then_some(order_id));
    whole.shipments.extend(known.shipment.iter().map(|shipment| Shipment {
        order_id,
        status: shipment.status.name().parse().expect("the names are the same"),
        tracking_code: shipment.tracking_code.clone(),
    }));
}

fn provider(order_id: OrderId, known: &Provider, books: &mut audit::Provider) {
    let booking = |key: EventId| Booking { order_id, key, amount: PRICE.decimal() };
    let charged = known.charges.iter().filter(|(_, word)| **word == Word::Done);
    books.charges.extend(charged.map(|(key, _)| booking(*key)));
    books.refunds.extend(known.refunds.iter().copied().map(booking));
}

/// An event that no service has handled yet counts as unpublished.
fn mail(cast: &Cast, about: &About, whole: &mut Snapshot) {
    for mail in &about.mail {
        let (said, service) = (cast.outgoing(mail.letter), mail.step().service);
        let (event_id, event, order_id) = (said.id, name(&said.event), said.order_id);
        let digest = digest(&said.publication().message);
        match mail.place {
            Place::UnderWay => {
                let row = EventRow { event_id, event, order_id, digest };
                whole.outboxes.entry(events::said_by(&said.event).into()).or_default().push(row);
            }
            Place::Handled => {
                let row = EventRow { event_id, event, order_id, digest };
                whole.handled.entry(service.into()).or_default().push(row);
            }
            Place::Parked | Place::Impossible => whole.dead_letters.push(DeadLetter {
                queue: dead_letters(&queue_name(service, &said.event)),
                message_id: Some(event_id.to_string()),
                order_id: Some(order_id),
                event: Some(said.event),
                reason: None,
                digest: Some(digest),
            }),
        }
    }
}

fn digest(message: &Message) -> [u8; 16] {
    message.digest().try_into().expect("a digest has sixteen bytes")
}
