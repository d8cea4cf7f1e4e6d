//! Derives an order's status: the first rule that its facts match.

use super::{Fact, Order};
use events::{
    Event, InventoryFailed, InventoryReserved, OrderCancelRequested, PaymentApproved,
    PaymentFailed, PaymentReversed, ShippingFailed, ShippingScheduled,
};
use serde::Serialize;
use std::{fmt, str::FromStr};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    Pending,
    PaymentApproved,
    PaymentFailed,
    PaymentReversed,
    InventoryReserved,
    InventoryFailed,
    ShippingFailed,
    Confirmed,
    Cancelled,
}

impl Status {
    pub const ALL: [Self; 9] = [
        Self::Pending,
        Self::PaymentApproved,
        Self::PaymentFailed,
        Self::PaymentReversed,
        Self::InventoryReserved,
        Self::InventoryFailed,
        Self::ShippingFailed,
        Self::Confirmed,
        Self::Cancelled,
    ];

    /// The statuses of an order whose saga goes forward.
    pub const RUNNING: [Self; 3] = [Self::Pending, Self::PaymentApproved, Self::InventoryReserved];

    /// The first rule that matches.
    pub(super) fn of(order: &Order) -> Self {
        let shipping_failed = order.has::<ShippingFailed>();
        let inventory_failed = order.has::<InventoryFailed>();
        let reserved = order.has::<InventoryReserved>();
        let scheduled = order.has::<ShippingScheduled>();
        let approved = order.has::<PaymentApproved>();
        let all_done = approved && reserved && scheduled;
        if let Some(failed) = order.fact(PaymentFailed::NAME) {
            if is_cancelled(failed) { Self::Cancelled } else { Self::PaymentFailed }
        } else if order.has::<PaymentReversed>() {
            let undone = inventory_failed || shipping_failed;
            if undone { Self::Cancelled } else { Self::PaymentReversed }
        } else if shipping_failed {
            Self::ShippingFailed
        } else if inventory_failed {
            Self::InventoryFailed
        } else if all_done && !order.has::<OrderCancelRequested>() {
            Self::Confirmed
        } else if reserved || scheduled {
            Self::InventoryReserved
        } else if approved {
            Self::PaymentApproved
        } else {
            Self::Pending
        }
    }

    pub const fn is_final(self) -> bool {
        matches!(self, Self::Confirmed | Self::PaymentFailed | Self::Cancelled)
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::PaymentApproved => "PAYMENT_APPROVED",
            Self::PaymentFailed => "PAYMENT_FAILED",
            Self::PaymentReversed => "PAYMENT_REVERSED",
            Self::InventoryReserved => "INVENTORY_RESERVED",
            Self::InventoryFailed => "INVENTORY_FAILED",
            Self::ShippingFailed => "SHIPPING_FAILED",
            Self::Confirmed => "CONFIRMED",
            Self::Cancelled => "CANCELLED",
        }
    }
}

fn is_cancelled(payment_failed: &Fact) -> bool {
    payment_failed.detail["reason"] == "cancelled"
}

impl fmt::Display for Status {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

impl FromStr for Status {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|status| status.name() == text).ok_or_else(|| {
            let known = Self::ALL.map(Self::name).join(", ");
            format!("{text:?} is no status; there are {known}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_written_as_it_is_named() {
        for status in Status::ALL {
            assert_eq!(serde_json::to_value(status).unwrap(), status.name());
            assert_eq!(status.to_string(), status.name());
            assert_eq!(status.name().parse(), Ok(status));
        }
        assert!("pending".parse::<Status>().is_err());
    }
}
