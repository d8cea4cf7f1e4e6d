//! Labels an order's state for people: in the list, in the lanes, and for screen readers. Events
//! have labels of their own (`labels::event`).

use events::{
    Event, InventoryFailed, OrderCancelRequested, PaymentFailed, PaymentReversed, SERVICES,
    ShippingFailed,
};
use order::{Order, Status, Waiting};

/// The outcome of an order, as colours and filters distinguish it.
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
    cause.map_or("ended", |fact| labels::fact(fact.event, &fact.detail)).into()
}

/// What the list says of an order that waits.
pub fn waits(waiting: &[Waiting]) -> String {
    let mut services: Vec<_> = waiting.iter().map(|one| one.service).collect();
    services.dedup();
    if services.is_empty() { "waits".into() } else { format!("waits: {}", services.join(", ")) }
}
