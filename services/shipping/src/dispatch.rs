//! Holds shipping's state of an order, and the carrier's terms. Pure.

use events::{Item, Money, OrderId, ProductId, ShippingFailed, ShippingFailure, ShippingScheduled};

/// The carrier takes every product, except in the demonstration.
const REFUSED: &[ProductId] = &[
    #[cfg(feature = "demo")]
    demo::OVERSIZED,
];

const FREIGHT_BASE: Money = Money::cents(1000);
const FREIGHT_PER_PIECE: Money = Money::cents(150);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dispatch {
    /// The customer cancelled before there was anything to ship.
    pub cancel_marked: bool,
    pub shipment: Option<Shipment>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shipment {
    pub status: Status,
    /// None where no carrier was asked, or none took it.
    pub tracking_code: Option<String>,
    pub freight: Money,
    pub delivery_days: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Scheduled,
    Failed,
    Cancelled,
}

impl Status {
    pub const ALL: [Self; 3] = [Self::Scheduled, Self::Failed, Self::Cancelled];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Scheduled => "SCHEDULED",
            Self::Failed => "FAILED",
            Self::Cancelled => "CANCELLED",
        }
    }
}

impl Shipment {
    /// Asks the carrier.
    pub fn book(order: OrderId, items: &[Item]) -> Self {
        let refused = items.iter().any(|item| REFUSED.contains(&item.product_id));
        Self {
            status: if refused { Status::Failed } else { Status::Scheduled },
            tracking_code: (!refused).then(|| tracking_code(order)),
            freight: freight(items),
            delivery_days: delivery_days(order),
        }
    }

    /// Made for an order that was cancelled before: it never reaches a carrier.
    pub fn stillborn(order: OrderId, items: &[Item]) -> Self {
        let booked = Self::book(order, items);
        Self { status: Status::Cancelled, tracking_code: None, ..booked }
    }

    pub fn scheduled(&self, order_id: OrderId) -> ShippingScheduled {
        ShippingScheduled {
            order_id,
            tracking_code: self.tracking_code.clone().unwrap_or_default(),
            freight: self.freight,
            delivery_days: self.delivery_days,
        }
    }
}

pub const fn failed(order_id: OrderId, reason: ShippingFailure) -> ShippingFailed {
    ShippingFailed { order_id, reason }
}

/// From the random half of the id: the first half is the time, and alike for orders of one minute.
fn tracking_code(order: OrderId) -> String {
    let id = order.simple().to_string();
    format!("TRK-{}", &id[24..])
}

fn freight(items: &[Item]) -> Money {
    let pieces = items.iter().fold(0_u32, |sum, item| sum.saturating_add(item.quantity));
    FREIGHT_PER_PIECE
        .times(pieces)
        .and_then(|per_piece| FREIGHT_BASE.plus(per_piece))
        .unwrap_or(Money::MAX)
}

/// Three to seven.
fn delivery_days(order: OrderId) -> u8 {
    3 + order.as_bytes()[15] % 5
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn freight_is_a_base_and_so_much_a_piece() {
        let item =
            |quantity| Item { product_id: Uuid::from_u128(1), quantity, unit_price: Money::ZERO };
        assert_eq!(freight(&[item(2), item(1)]), Money::cents(1450));
        assert_eq!(freight(&[item(u32::MAX), item(u32::MAX)]), Money::cents(644_245_095_250));
    }

    #[test]
    fn its_states_have_the_names_that_others_know() {
        assert_eq!(Status::ALL.map(Status::name), ["SCHEDULED", "FAILED", "CANCELLED"]);
    }

    #[test]
    fn code_and_days_come_from_the_order_alone() {
        let order = Uuid::from_u128(0x0190_0000_0000_7000_8000_1234_89ab_cdef);
        let shipment = Shipment::book(order, &[]);
        assert_eq!(shipment.tracking_code.as_deref(), Some("TRK-89abcdef"));
        assert!((3..=7).contains(&shipment.delivery_days));
        assert_eq!(shipment, Shipment::book(order, &[]));
    }
}
