//! The endings of the saga, and the order that leads to each.

use std::time::Duration;

use audit::OrderStatus;
use clap::ValueEnum;
use demo::{CUSTOMER, DemoOrder};
use events::{Event, PaymentFailed, PaymentReversed, ShippingScheduled};

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
    /// CANCELLED: out of stock
    SoldOut,
    /// CANCELLED: more than is left in stock
    TooMany,
    /// CANCELLED: an unknown product
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

    const fn asking(self) -> DemoOrder {
        match self {
            Self::Confirmed => DemoOrder::CONFIRMED,
            Self::Declined => DemoOrder::DECLINED,
            Self::Unavailable => DemoOrder::UNAVAILABLE,
            Self::Flaky => DemoOrder::FLAKY,
            Self::Slow => DemoOrder::SLOW,
            Self::SoldOut => DemoOrder::NONE_LEFT,
            Self::TooMany => DemoOrder::TOO_MANY,
            Self::UnknownProduct => DemoOrder::UNKNOWN_PRODUCT,
            Self::Carrier => DemoOrder::CARRIER,
            Self::CancelCharged => DemoOrder::CANCEL_CHARGED,
            Self::CancelUncharged => DemoOrder::CANCEL_UNCHARGED,
        }
    }

    pub fn draft(self) -> Draft {
        let asking = self.asking();
        let payment_method = asking.method.name().into();
        Draft { customer_id: CUSTOMER, payment_method, items: asking.items() }
    }

    /// The time from placing the order to the customer's cancel.
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

    /// The event that must decide this ending.
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
