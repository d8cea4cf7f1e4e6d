//! What a person calls it: the same words in the list, in the lanes, and for who cannot see them.

use crate::{
    order::{Fact, Order, Status},
    waiting::Waiting,
};
use events::{
    Event, InventoryFailed, InventoryReleased, InventoryReserved, OrderCancelRequested,
    OrderCreated, OrderId, PaymentApproved, PaymentFailed, PaymentReversed, SERVICES,
    ShippingFailed, ShippingScheduled,
};
use serde_json::Value;

/// What an order has come to, as far as colours and filters tell it apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ending {
    Open,
    Confirmed,
    Undone,
    Failed,
}

impl Ending {
    pub const ALL: [Self; 4] = [Self::Confirmed, Self::Undone, Self::Failed, Self::Open];

    pub const fn of(status: Status) -> Self {
        match status {
            Status::Confirmed => Self::Confirmed,
            Status::Cancelled => Self::Undone,
            Status::PaymentFailed => Self::Failed,
            _ => Self::Open,
        }
    }

    /// In style sheets and filters.
    pub const fn class(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Confirmed => "confirmed",
            Self::Undone => "undone",
            Self::Failed => "failed",
        }
    }

    pub const fn mark(self) -> &'static str {
        match self {
            Self::Open => "…",
            Self::Confirmed => "✔",
            Self::Undone => "◂",
            Self::Failed => "✖",
        }
    }

    pub const fn word(self) -> &'static str {
        match self {
            Self::Open => "under way",
            Self::Confirmed => "confirmed",
            Self::Undone => "undone",
            Self::Failed => "not paid",
        }
    }
}

/// The place of a service's lane and box.
pub fn place(service: &str) -> usize {
    SERVICES.iter().position(|known| *known == service).unwrap_or(0)
}

/// An event without its service, and without what only this one order knows.
pub fn event(name: &str) -> &'static str {
    match name {
        OrderCreated::NAME => "created",
        OrderCancelRequested::NAME => "cancel asked",
        PaymentApproved::NAME => "approved",
        PaymentFailed::NAME => "not paid",
        PaymentReversed::NAME => "money back",
        InventoryReserved::NAME => "reserved",
        InventoryFailed::NAME => "sold out",
        InventoryReleased::NAME => "released",
        ShippingScheduled::NAME => "scheduled",
        ShippingFailed::NAME => "not shipped",
        _ => "said",
    }
}

/// A fact, with its reason.
pub fn fact(fact: &Fact) -> &'static str {
    match (fact.event, fact.detail["reason"].as_str().unwrap_or_default()) {
        (OrderCancelRequested::NAME, "customer") => "cancelled by the customer",
        (OrderCancelRequested::NAME, "deadline") => "took too long",
        (PaymentFailed::NAME, "declined") => "card declined",
        (PaymentFailed::NAME, "unavailable") => "provider unavailable",
        (PaymentFailed::NAME, "cancelled") => "never charged",
        (ShippingFailed::NAME, "carrier_refused") => "carrier refuses",
        (ShippingFailed::NAME, "cancelled") => "shipment called off",
        (name, _) => event(name),
    }
}

/// What more there is to tell of a fact in one word: an amount, a code, how many tries.
pub fn more(fact: &Fact) -> String {
    let detail = &fact.detail;
    let text = |name: &str| match &detail[name] {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    match fact.event {
        OrderCreated::NAME => text("total_amount"),
        PaymentApproved::NAME | PaymentReversed::NAME => text("amount"),
        PaymentFailed::NAME => match detail["attempts"].as_u64() {
            Some(tries) if tries > 1 => format!("{tries} tries"),
            _ => String::new(),
        },
        InventoryReserved::NAME => match text("units") {
            units if units.is_empty() => units,
            one if one == "1" => "1 unit".into(),
            more => format!("{more} units"),
        },
        ShippingScheduled::NAME => text("tracking_code"),
        _ => String::new(),
    }
}

/// What the list says of an order that is final.
pub fn ending(order: &Order) -> String {
    if order.status() == Status::Confirmed {
        return order.tracking_code().unwrap_or("confirmed").into();
    }
    let causes = [
        OrderCancelRequested::NAME,
        InventoryFailed::NAME,
        ShippingFailed::NAME,
        PaymentFailed::NAME,
        PaymentReversed::NAME,
    ];
    let cause = causes.iter().find_map(|event| order.fact(event));
    cause.map_or("ended", fact).into()
}

/// What the list says of an order that waits.
pub fn waits(waiting: &[Waiting]) -> String {
    let mut services: Vec<_> = waiting.iter().map(|one| one.service).collect();
    services.dedup();
    if services.is_empty() { "waits".into() } else { format!("waits: {}", services.join(", ")) }
}

/// The end of an id: those that are placed together begin alike.
pub fn short(id: OrderId) -> String {
    let text = id.simple().to_string();
    text[text.len() - 6..].into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_has_a_word() {
        assert!(events::EVENTS.iter().all(|name| event(name) != "said"));
    }
}
