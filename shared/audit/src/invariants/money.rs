//! 2. Charged and not reversed ⇔ CONFIRMED. At most one charge and one reversal an order; amounts
//!    equal.

use super::{
    Found, Violation,
    index::{Index, View},
};
use crate::{Booking, Fact, OrderStatus, Payment, PaymentStatus as Is, Provider};
use events::{Event, OrderId, PaymentApproved, PaymentReversed};
use rust_decimal::Decimal;
use std::collections::HashMap;

/// At most one charge and one reversal an order: this holds at every moment.
pub fn once(index: &Index<'_>, found: &mut Vec<Violation>) {
    for (order, view) in &index.orders {
        for event in [PaymentApproved::NAME, PaymentReversed::NAME] {
            let times = index.times_said(view, event);
            if times > 1 {
                found.add(2, *order, format!("{event} was published {times} times"));
            }
        }
        if view.payments.len() > 1 {
            found.add(2, *order, format!("it has {} payments", view.payments.len()));
        }
    }
    for (what, bookings) in index.snapshot.provider.iter().flat_map(Provider::books) {
        for (order, bookings) in by_order(bookings) {
            if bookings.len() > 1 {
                found.add(2, order, format!("the provider has {} {what}s", bookings.len()));
            }
        }
    }
}

pub fn check(index: &Index<'_>, found: &mut Vec<Violation>) {
    let books = index.snapshot.provider.as_ref();
    let charges = books.map(|provider| by_order(&provider.charges));
    let refunds = books.map(|provider| by_order(&provider.refunds));
    for (order, view) in index.due() {
        is_charged_for_what_it_gets(order, view, found);
        for payment in &view.payments {
            is_complete(payment, found);
        }
        amounts_are_equal(order, view, found);
        if let (Some(charges), Some(refunds)) = (&charges, &refunds) {
            let of = |book: &HashMap<_, Vec<&Booking>>| book.get(&order).map_or(0, Vec::len);
            if is_confirmed(view) != (of(charges) > of(refunds)) {
                let (charges, refunds) = (of(charges), of(refunds));
                let why = format!("{} at {charges} charges and {refunds} refunds", status(view));
                found.add(2, order, why);
            }
        }
    }
    let provider = books.into_iter().flat_map(Provider::books);
    for (what, booking) in provider.flat_map(|(what, books)| books.iter().map(move |b| (what, b))) {
        let total = index.orders.get(&booking.order_id).and_then(|view| total(view));
        if !index.is_excused(booking.order_id) && total != Some(booking.amount) {
            let total = total.map_or("unknown".into(), |total| total.to_string());
            let why = format!("its total is {total}, the provider's {what} {}", booking.amount);
            found.add(2, booking.order_id, why);
        }
    }
}

fn is_charged_for_what_it_gets(order: OrderId, view: &View<'_>, found: &mut Vec<Violation>) {
    // REVERSING is charged and not yet refunded.
    let kept = view.payments.iter().any(|p| matches!(p.status, Is::Approved | Is::Reversing));
    let open = view.payments.iter().find(|payment| is_unfinished(payment.status));
    if kept != is_confirmed(view) {
        let payment = view.payments.first().map_or("missing", |payment| payment.status.name());
        found.add(2, order, format!("is {}, and its payment is {payment}", status(view)));
    } else if let Some(payment) = open {
        found.add(2, order, format!("its payment stays {}", payment.status));
    }
}

const fn is_unfinished(status: Is) -> bool {
    matches!(status, Is::Pending | Is::Processing | Is::Retrying | Is::Reversing)
}

fn is_complete(payment: &Payment, found: &mut Vec<Violation>) {
    let Payment { order_id, status, attempts, .. } = payment;
    let charged = matches!(status, Is::Approved | Is::Reversing | Is::Reversed);
    if charged && payment.provider_ref.is_none() {
        found.add(
            2,
            *order_id,
            format!("its payment is {status}, without the provider's reference"),
        );
    }
    if charged && *attempts == 0 {
        found.add(2, *order_id, format!("its payment is {status} after no attempt"));
    }
    if (*status == Is::Reversed) != payment.refund_ref.is_some() {
        let reference = payment.refund_ref.as_deref().unwrap_or("none");
        let why = format!("its payment is {status}, with the refund reference {reference}");
        found.add(2, *order_id, why);
    }
}

fn amounts_are_equal(order: OrderId, view: &View<'_>, found: &mut Vec<Violation>) {
    let Some(total) = total(view) else { return };
    let facts = view.orders.iter().flat_map(|order| &order.facts);
    let said = facts.filter_map(|Fact { event, amount, .. }| Some((&**event, (*amount)?)));
    let kept = view.payments.iter().map(|payment| ("its payment", payment.amount));
    for (what, amount) in said.chain(kept) {
        if amount != total {
            found.add(2, order, format!("its total is {total}, but {what} says {amount}"));
        }
    }
}

fn is_confirmed(view: &View<'_>) -> bool {
    view.orders.iter().any(|order| order.status == OrderStatus::Confirmed)
}

fn status(view: &View<'_>) -> &'static str {
    view.orders.first().map_or("unknown to order", |order| order.status.name())
}

fn total(view: &View<'_>) -> Option<Decimal> {
    view.orders.first().map(|order| order.total)
}

fn by_order(bookings: &[Booking]) -> HashMap<OrderId, Vec<&Booking>> {
    let mut sorted: HashMap<_, Vec<_>> = HashMap::new();
    for booking in bookings {
        sorted.entry(booking.order_id).or_default().push(booking);
    }
    sorted
}

impl Provider {
    fn books(&self) -> [(&'static str, &[Booking]); 2] {
        [("charge", self.charges.as_slice()), ("refund", self.refunds.as_slice())]
    }
}
