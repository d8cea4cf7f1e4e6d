//! The endings of the saga, and what to ask for to get each: the table "Asking for each ending".

use std::time::Duration;

use clap::ValueEnum;
use events::{Event, Item, Money, PaymentFailed, PaymentReversed, ProductId, ShippingScheduled};
use invariants::OrderStatus;
use uuid::Uuid;

use crate::api::Draft;

/// Whose orders these are, where nobody else is named.
pub const CUSTOMER: Uuid = Uuid::from_u128(0x123e_4567_e89b_12d3_a456_4266_1417_4000);

/// In stock, limited to 10, sold out, and too large for any carrier.
pub const QUILL: ProductId = Uuid::from_u128(1);
pub const LIMITED: ProductId = Uuid::from_u128(2);
pub const SOLD_OUT: ProductId = Uuid::from_u128(3);
pub const OVERSIZED: ProductId = Uuid::from_u128(4);
const UNKNOWN: ProductId = Uuid::from_u128(0xffff_ffff);

pub const PRICE: Money = Money::cents(4990);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ValueEnum)]
pub enum Scenario {
    /// CONFIRMED at once
    Confirmed,
    /// PAYMENT_FAILED: the provider declines
    Declined,
    /// PAYMENT_FAILED: the provider is unavailable at every try
    Unavailable,
    /// CONFIRMED at the third try
    Flaky,
    /// CONFIRMED after 5 seconds
    Slow,
    /// CANCELLED: there is none in stock
    SoldOut,
    /// CANCELLED: more than is left in stock
    TooMany,
    /// CANCELLED: a product that nobody knows
    UnknownProduct,
    /// CANCELLED: no carrier takes it
    Carrier,
    /// CANCELLED by the customer while the card is charged: money back
    CancelCharged,
    /// CANCELLED by the customer between two tries: never charged
    CancelUncharged,
}

impl Scenario {
    pub fn all() -> &'static [Self] {
        Self::value_variants()
    }

    pub fn name(self) -> String {
        let value = self.to_possible_value().expect("no scenario is hidden");
        value.get_name().into()
    }

    pub fn draft(self) -> Draft {
        let (product_id, quantity) = match self {
            Self::SoldOut => (SOLD_OUT, 1),
            Self::TooMany => (LIMITED, 11),
            Self::UnknownProduct => (UNKNOWN, 1),
            Self::Carrier => (OVERSIZED, 1),
            _ => (QUILL, 2),
        };
        let method = match self {
            Self::Declined => "card_declined",
            Self::Unavailable => "card_unavailable",
            Self::Flaky | Self::CancelUncharged => "card_flaky",
            Self::Slow | Self::CancelCharged => "card_slow",
            _ => "credit_card",
        };
        let items = vec![Item { product_id, quantity, unit_price: PRICE }];
        Draft { customer_id: CUSTOMER, payment_method: method.into(), items }
    }

    /// How long after placing it the customer changes his mind: while `card_slow` is being charged
    /// (5 s), and while `card_flaky` waits for its third try (2 s).
    pub const fn cancel_after(self) -> Option<Duration> {
        match self {
            Self::CancelCharged => Some(Duration::from_millis(1500)),
            Self::CancelUncharged => Some(Duration::from_millis(700)),
            _ => None,
        }
    }

    pub const fn ends(self) -> OrderStatus {
        match self {
            Self::Confirmed | Self::Flaky | Self::Slow => OrderStatus::Confirmed,
            Self::Declined | Self::Unavailable => OrderStatus::PaymentFailed,
            _ => OrderStatus::Cancelled,
        }
    }

    /// The event that it must have come to.
    pub const fn by(self) -> &'static str {
        match self {
            Self::Confirmed | Self::Flaky | Self::Slow => ShippingScheduled::NAME,
            Self::Declined | Self::Unavailable | Self::CancelUncharged => PaymentFailed::NAME,
            _ => PaymentReversed::NAME,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_payment_method_asked_for_is_one() {
        for scenario in Scenario::all() {
            assert!(scenario.draft().payment_method.parse::<events::PaymentMethod>().is_ok());
            assert!(scenario.ends().is_final());
        }
    }
}
