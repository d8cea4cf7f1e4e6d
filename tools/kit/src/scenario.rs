//! The endings of the saga, and what to ask for to get each: the table "Asking for each ending".

use std::time::Duration;

use audit::OrderStatus;
use clap::ValueEnum;
use events::{Asking, CUSTOMER, Event, PaymentFailed, PaymentReversed, ShippingScheduled};

use crate::api::Draft;

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

    const fn asking(self) -> Asking {
        match self {
            Self::Confirmed => Asking::CONFIRMED,
            Self::Declined => Asking::DECLINED,
            Self::Unavailable => Asking::UNAVAILABLE,
            Self::Flaky => Asking::FLAKY,
            Self::Slow => Asking::SLOW,
            Self::SoldOut => Asking::NONE_LEFT,
            Self::TooMany => Asking::TOO_MANY,
            Self::UnknownProduct => Asking::UNKNOWN_PRODUCT,
            Self::Carrier => Asking::CARRIER,
            Self::CancelCharged => Asking::CANCEL_CHARGED,
            Self::CancelUncharged => Asking::CANCEL_UNCHARGED,
        }
    }

    pub fn draft(self) -> Draft {
        let asking = self.asking();
        let payment_method = asking.method.name().into();
        Draft { customer_id: CUSTOMER, payment_method, items: asking.items() }
    }

    /// How long after placing it the customer changes his mind.
    pub const fn cancel_after(self) -> Option<Duration> {
        self.asking().cancel_after
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
    fn every_scenario_ends() {
        for scenario in Scenario::all() {
            assert!(scenario.ends().is_final());
        }
    }
}
