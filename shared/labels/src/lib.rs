//! Names events, reasons and durations for people: the same labels on the live page and in the
//! terminal.

use events::{
    Event, InventoryFailed, InventoryReleased, InventoryReserved, OrderCancelRequested,
    OrderCreated, OrderId, PaymentApproved, PaymentFailed, PaymentReversed, ShippingFailed,
    ShippingScheduled,
};
use serde_json::Value;

/// An event, without its service and without this order's details.
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

/// With the reason from the order's timeline.
pub fn fact(name: &str, detail: &Value) -> &'static str {
    match (name, detail["reason"].as_str().unwrap_or_default()) {
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

/// One more detail: an amount, a code, the number of attempts.
pub fn more(name: &str, detail: &Value) -> String {
    let text = |name: &str| match &detail[name] {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    match name {
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

/// The end of an id: the beginnings of ids of the same time are alike.
pub fn short(id: OrderId) -> String {
    let text = id.simple().to_string();
    text[text.len() - 6..].into()
}

/// `340 ms`, `12.3 s`, `5 min`: in the largest unit that is precise enough.
pub fn span(milliseconds: i64) -> String {
    match milliseconds {
        ..1000 => format!("{milliseconds} ms"),
        1000..120_000 => format!("{}.{} s", milliseconds / 1000, milliseconds % 1000 / 100),
        120_000..7_200_000 => format!("{} min", milliseconds / 60_000),
        7_200_000..172_800_000 => format!("{} h", milliseconds / 3_600_000),
        _ => format!("{} days", milliseconds / 86_400_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_has_a_word() {
        assert!(events::EVENTS.iter().all(|name| event(name) != "said"));
    }

    #[test]
    fn a_span_is_told_in_its_unit() {
        let spans = [0, 999, 1000, 12_340, 119_999, 300_000, 90_000_000, 259_200_000].map(span);
        let told = ["0 ms", "999 ms", "1.0 s", "12.3 s", "119.9 s", "5 min", "25 h", "3 days"];
        assert_eq!(spans, told);
    }
}
