//! Events that both databases process.

use super::PRICE;
use events::{
    CancelReason, InventoryFailed, InventoryReleased, InventoryReserved, Item, Money,
    OrderCancelRequested, OrderCreated, OrderId, PaymentApproved, PaymentFailed, PaymentFailure,
    PaymentMethod, PaymentReversed, ShippingFailed, ShippingFailure, ShippingScheduled,
};
use uuid::Uuid;

pub fn created(order_id: OrderId, items: &[Item]) -> OrderCreated {
    OrderCreated {
        order_id,
        customer_id: Uuid::from_u128(1),
        payment_method: PaymentMethod::Pix,
        total_amount: PRICE,
        items: items.to_vec(),
    }
}

pub const fn cancel(order_id: OrderId) -> OrderCancelRequested {
    OrderCancelRequested {
        order_id,
        reason: CancelReason::Customer,
        payment_method: PaymentMethod::Pix,
        total_amount: PRICE,
    }
}

pub fn approved(order_id: OrderId, items: &[Item]) -> PaymentApproved {
    let (amount, items) = (PRICE, items.to_vec());
    PaymentApproved { order_id, amount, provider_ref: "ch_1".into(), items }
}

pub const fn failed(order_id: OrderId) -> PaymentFailed {
    PaymentFailed { order_id, reason: PaymentFailure::Declined, attempts: 1 }
}

pub fn reversed(order_id: OrderId) -> PaymentReversed {
    PaymentReversed { order_id, amount: PRICE, refund_ref: "re_1".into() }
}

pub fn reserved(order_id: OrderId, items: &[Item]) -> InventoryReserved {
    InventoryReserved { order_id, items: items.to_vec() }
}

pub const fn short(order_id: OrderId) -> InventoryFailed {
    InventoryFailed { order_id, short: Vec::new() }
}

pub const fn released(order_id: OrderId) -> InventoryReleased {
    InventoryReleased { order_id }
}

pub fn scheduled(order_id: OrderId) -> ShippingScheduled {
    let (tracking_code, freight) = ("TRK-00000001".into(), Money::cents(1150));
    ShippingScheduled { order_id, tracking_code, freight, delivery_days: 3 }
}

pub const fn refused(order_id: OrderId) -> ShippingFailed {
    ShippingFailed { order_id, reason: ShippingFailure::CarrierRefused }
}
