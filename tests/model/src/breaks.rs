//! Bugs that are added around the shipped decisions: the model must find each.

use events::{
    Event, InventoryReleased, OrderCancelRequested, OrderCreated, ShippingFailed, ShippingScheduled,
};
use inventory::Shelf;
use messaging::Message;
use order::Order;
use payment::{Call, Charge, Payment, Status, Verdict};
use reaction::Decision;
use shipping::Dispatch;
use std::time::Duration;
use uuid::Uuid;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Break {
    /// A refunded payment is due to be charged again, under another key.
    ChargesAgain,
    /// A time-out is treated as a request that was never sent.
    TakesSilenceForNo,
    /// So is a 503, which may be a proxy's.
    Takes503ForNo,
    /// A pending charge is treated as one that will never be made.
    TakesPendingForNo,
    /// So is one that is not charged so far: it fails without a void.
    FailsUnvoided,
    /// A charge that a crash left in progress is charged again, as if nothing had been sent.
    ForgetsTheDoubt,
    /// A cancel fails a payment while the provider is charging it.
    FailsInHand,
    /// Each try of a refund has a key of its own.
    RefundsUnderNewKeys,
    /// Payment ignores a cancel.
    ChargesTheCancelled,
    /// Shipping ignores a cancel.
    ShipsTheCancelled,
    /// Order confirms a cancelled order.
    ConfirmsTheCancelled,
    /// A repeated release puts the stock back twice.
    ReleasesTwice,
    /// A repeated order is charged twice.
    ChargesTheRepeated,
    /// A released reservation is not refunded.
    KeepsTheMoney,
    /// Stock never runs out.
    Oversells,
}

pub fn order(
    broken: Option<Break>,
    state: Order,
    heard: &Message,
    shipped: impl Fn(Order) -> Decision<Order>,
) -> Decision<Order> {
    match broken {
        Some(Break::ConfirmsTheCancelled) if is::<ShippingScheduled>(heard) => {
            let kept = state.timeline().iter().filter(|f| f.event != OrderCancelRequested::NAME);
            shipped(Order::new(kept.cloned()))
        }
        _ => shipped(state),
    }
}

pub fn payment(
    broken: Option<Break>,
    state: Payment,
    heard: &Message,
    shipped: impl Fn(Payment) -> Decision<Payment>,
) -> Decision<Payment> {
    match (broken, &state.charge) {
        (Some(Break::FailsInHand), Some(charge)) if is::<OrderCancelRequested>(heard) => {
            let status = match charge.status {
                Status::Processing => Status::Pending,
                status => status,
            };
            shipped(Charge { status, in_doubt: false, attempts: 0, ..charge.clone() }.into())
        }
        (Some(Break::ChargesTheRepeated), Some(charge))
            if is::<OrderCreated>(heard) && charge.status == Status::Approved =>
        {
            Decision::to(anew(charge.clone()))
        }
        (Some(Break::ChargesTheCancelled), _) if is::<OrderCancelRequested>(heard) => {
            Decision::Nothing
        }
        (Some(Break::KeepsTheMoney), _) if is::<InventoryReleased>(heard) => Decision::Nothing,
        _ => shipped(state),
    }
}

pub fn settle(
    broken: Option<Break>,
    payment: Payment,
    verdict: Verdict,
    shipped: impl Fn(Payment, Verdict) -> Decision<Payment>,
) -> Decision<Payment> {
    match (broken, verdict) {
        (Some(Break::TakesSilenceForNo), Verdict::Unknown { reason })
        | (Some(Break::Takes503ForNo), Verdict::Unavailable { reason, .. }) => {
            shipped(payment, Verdict::Unsent { reason })
        }
        (Some(Break::TakesPendingForNo), Verdict::Pending { .. })
        | (Some(Break::FailsUnvoided), Verdict::NotCharged) => shipped(payment, Verdict::Voided),
        (Some(Break::ChargesAgain), verdict) => match shipped(payment, verdict) {
            Decision::Change { state: Payment { charge: Some(charge) }, says }
                if charge.status == Status::Reversed =>
            {
                Decision::Change { state: anew(charge), says }
            }
            other => other,
        },
        (_, verdict) => shipped(payment, verdict),
    }
}

pub fn taken_up(broken: Option<Break>, charge: Charge) -> Charge {
    match (broken, charge.refund_key) {
        (Some(Break::RefundsUnderNewKeys), Some(key)) => {
            Charge { refund_key: Some(Uuid::new_v5(&key, b"again")), ..charge }
        }
        _ => charge,
    }
}

pub fn put_back(broken: Option<Break>, charge: Charge) -> Charge {
    match broken {
        Some(Break::ForgetsTheDoubt) => {
            let Charge { in_doubt, next_call, attempts, .. } = charge;
            let attempts = attempts.saturating_sub((next_call == Call::Charge).into());
            Charge { in_doubt, next_call, attempts, ..charge.put_back() }
        }
        _ => charge.put_back(),
    }
}

pub fn inventory(
    broken: Option<Break>,
    state: Shelf,
    heard: &Message,
    shipped: impl Fn(Shelf) -> Decision<Shelf>,
) -> Decision<Shelf> {
    match broken {
        Some(Break::ReleasesTwice) if is::<ShippingFailed>(heard) => {
            let reservation = state.reservation.clone();
            let reservation = reservation
                .map(|held| inventory::Reservation { status: inventory::Status::Reserved, ..held });
            shipped(Shelf { reservation, ..state })
        }
        Some(Break::Oversells) => {
            let mut more = state;
            more.products.values_mut().for_each(|product| product.total += 1);
            match shipped(more) {
                Decision::Change { mut state, says } => {
                    state.products.values_mut().for_each(|product| product.total -= 1);
                    Decision::Change { state, says }
                }
                other => other,
            }
        }
        _ => shipped(state),
    }
}

pub fn shipping(
    broken: Option<Break>,
    state: Dispatch,
    heard: &Message,
    shipped: impl Fn(Dispatch) -> Decision<Dispatch>,
) -> Decision<Dispatch> {
    match broken {
        Some(Break::ShipsTheCancelled) if is::<OrderCancelRequested>(heard) => Decision::Nothing,
        _ => shipped(state),
    }
}

fn is<E: Event>(heard: &Message) -> bool {
    heard.kind.as_deref() == Some(E::NAME)
}

/// Makes it due, as if nothing had happened before.
fn anew(charge: Charge) -> Payment {
    let charge_key = Uuid::new_v5(&charge.charge_key, b"again");
    let Charge { order_id, method, amount, items, cause, .. } = charge;
    let fresh = Charge { charge_key, ..Charge::new(order_id, method, amount, items, cause) };
    fresh.due(Status::Pending, Duration::ZERO).into()
}
