//! Payments and events for the tests beside the reactions.

use crate::payment::{Charge, Payment, Status};
use events::{CancelReason, Item, Money, OrderCancelRequested, OrderCreated, PaymentMethod};
use reaction::{Decision, Heard, On, scenario::heard};
use uuid::Uuid;

pub const ORDER: Uuid = Uuid::from_u128(7);

pub fn created() -> OrderCreated {
    OrderCreated {
        order_id: ORDER,
        customer_id: Uuid::from_u128(8),
        payment_method: PaymentMethod::Pix,
        total_amount: Money::cents(9980),
        items: vec![Item {
            product_id: Uuid::from_u128(1),
            quantity: 2,
            unit_price: Money::cents(4990),
        }],
    }
}

pub fn cancel() -> OrderCancelRequested {
    OrderCancelRequested {
        order_id: ORDER,
        reason: CancelReason::Customer,
        payment_method: PaymentMethod::Pix,
        total_amount: Money::cents(9980),
    }
}

pub fn charge(status: Status) -> Charge {
    let created: Heard<OrderCreated> = heard(created());
    match Payment::default().on(&created) {
        Decision::Change { state: Payment { charge: Some(charge) }, .. } => charge.rest(status),
        other => panic!("{other:?}"),
    }
}

pub fn payment(status: Status) -> Payment {
    charge(status).into()
}
