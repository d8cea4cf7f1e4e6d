//! Finds the orders that a purge has left with a charge. They are excused from the invariants, and
//! the operator has to know of the money.

use std::collections::HashMap;

use events::{OrderId, Step};
use rust_decimal::Decimal;
use serde::Serialize;

use crate::{DeadLetter, OrderStatus, PaymentStatus, Snapshot};

/// An order that is charged and not CONFIRMED, and of which a message was purged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stranded {
    pub order_id: OrderId,
    /// None where order does not know it.
    pub status: Option<&'static str>,
    pub amount: Decimal,
    /// The queue whose dead letter was purged.
    pub queue: String,
}

pub fn stranded(
    add_ons: &[Step],
    part: &Snapshot,
    purged: &[DeadLetter],
) -> Vec<(OrderId, Stranded)> {
    let of_the_saga = purged.iter().filter(|letter| !letter.is_beside(add_ons));
    let queues: HashMap<_, _> =
        of_the_saga.filter_map(|it| Some((it.order_id?, it.queue.as_str()))).collect();
    let charged = part.payments.iter().filter(|one| one.status == PaymentStatus::Approved);
    let found = charged.filter_map(|payment| {
        let order_id = payment.order_id;
        let queue = queues.get(&order_id)?.trim_end_matches(".dlq").to_owned();
        let status = part.orders.iter().find(|order| order.id == order_id).map(|it| it.status);
        let is_stranded = status != Some(OrderStatus::Confirmed);
        let status = status.map(OrderStatus::name);
        let stranded = Stranded { order_id, status, amount: payment.amount, queue };
        is_stranded.then_some((order_id, stranded))
    });
    found.collect()
}
