//! Holds the whole system at one moment as plain data: the rows of the four databases, the broker's
//! messages, and the answers that clients got.

use crate::Scope;
use chrono::{DateTime, Utc};
use events::{EVENTS, EventId, OrderId, ProductId, Step, services_in};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, collections::BTreeMap};
use uuid::Uuid;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Snapshot {
    pub orders: Vec<Order>,
    pub payments: Vec<Payment>,
    pub products: Vec<Product>,
    pub reservations: Vec<Reservation>,
    /// Orders that inventory has refused.
    pub refusals: Vec<OrderId>,
    pub shipments: Vec<Shipment>,
    /// Orders whose cancel reached shipping before there was anything to ship.
    pub cancel_marks: Vec<OrderId>,
    /// The idempotency tables, by service.
    pub handled: BTreeMap<String, Vec<EventRow>>,
    /// The outboxes, by service.
    pub outboxes: BTreeMap<String, Vec<EventRow>>,
    /// What services beside the saga have published, as far as they keep it, by service.
    pub published: BTreeMap<String, Vec<EventRow>>,
    pub due: Due,
    /// Messages in each main queue and retry tier, delivered and unacknowledged ones included.
    pub queues: BTreeMap<String, u64>,
    pub dead_letters: Vec<DeadLetter>,
    /// Dead letters that an operator has purged.
    pub purged: Vec<DeadLetter>,
    /// Dead letters that an operator has repaired and republished.
    pub repaired: Vec<Repair>,
    /// Keys of older events may be gone from the idempotency tables; none are, where this is none.
    pub keys_kept_since: Option<DateTime<Utc>>,
    pub told: Told,
    /// The payment provider's own records, if they can be read.
    pub provider: Option<Provider>,
    /// The message ids of what was poisoned, where that is known.
    pub poisoned: Option<Vec<String>>,
}

impl Snapshot {
    /// Adds the rows of another part; what belongs to no order stays as it is.
    pub fn append(&mut self, mut part: Self) {
        self.orders.append(&mut part.orders);
        self.payments.append(&mut part.payments);
        self.reservations.append(&mut part.reservations);
        self.refusals.append(&mut part.refusals);
        self.shipments.append(&mut part.shipments);
        self.cancel_marks.append(&mut part.cancel_marks);
        self.handled.append(&mut part.handled);
        self.outboxes.append(&mut part.outboxes);
        self.published.append(&mut part.published);
        self.due.append(&mut part.due);
    }

    /// Moves the rows of these orders to another part.
    #[must_use]
    pub fn split_off(&mut self, is_its: impl Fn(OrderId) -> bool) -> Self {
        let mut part = Self { keys_kept_since: self.keys_kept_since, ..Self::default() };
        part.due.clone_from(&self.due);
        part.orders.extend(self.orders.extract_if(.., |row| is_its(row.id)));
        part.payments.extend(self.payments.extract_if(.., |row| is_its(row.order_id)));
        part.reservations.extend(self.reservations.extract_if(.., |row| is_its(row.order_id)));
        part.refusals.extend(self.refusals.extract_if(.., |order| is_its(*order)));
        part.shipments.extend(self.shipments.extract_if(.., |row| is_its(row.order_id)));
        part.cancel_marks.extend(self.cancel_marks.extract_if(.., |order| is_its(*order)));
        for (all, its) in
            [(&mut self.handled, &mut part.handled), (&mut self.published, &mut part.published)]
        {
            for (service, rows) in all {
                let rows = rows.extract_if(.., |row| is_its(row.order_id)).collect();
                its.insert(service.clone(), rows);
            }
        }
        for (service, rows) in &mut self.outboxes {
            let rows = rows.extract_if(.., |row| is_its(row.order_id)).collect();
            part.outboxes.insert(service.clone(), rows);
        }
        part
    }
}

/// The services beside the saga whose databases were read: by service and event, the time from
/// which on it must have handled each.
pub type Due = BTreeMap<String, BTreeMap<String, DateTime<Utc>>>;

/// The name of an event. Those of the saga cost no memory of their own.
pub type Name = Cow<'static, str>;

pub fn name(event: &str) -> Name {
    match EVENTS.iter().find(|known| **known == event) {
        Some(known) => Cow::Borrowed(known),
        None => Cow::Owned(event.into()),
    }
}

/// Of an event's bytes: the first half of their SHA-256, or any other hash that all sources share.
pub type Digest = [u8; 16];

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Order {
    pub id: OrderId,
    pub status: OrderStatus,
    pub total: Decimal,
    pub facts: Vec<Fact>,
}

/// An event as order records it, its own two included.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fact {
    pub event: Name,
    pub event_id: EventId,
    pub caused_by: Option<EventId>,
    /// The reason of a failure event.
    #[serde(default)]
    pub reason: Option<String>,
    /// The event's amount.
    #[serde(default)]
    pub amount: Option<Decimal>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Payment {
    pub order_id: OrderId,
    pub status: PaymentStatus,
    pub amount: Decimal,
    pub attempts: u32,
    pub provider_ref: Option<String>,
    pub refund_ref: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Product {
    pub id: ProductId,
    pub total: i64,
    pub reserved: i64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reservation {
    pub order_id: OrderId,
    pub status: ReservationStatus,
    pub items: Vec<(ProductId, i64)>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shipment {
    pub order_id: OrderId,
    pub status: ShipmentStatus,
    pub tracking_code: Option<String>,
}

/// A row of an idempotency table, a history or an outbox.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventRow {
    pub event_id: EventId,
    pub event: Name,
    pub order_id: OrderId,
    pub digest: Digest,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// `<service>.<event>.dlq`
    pub queue: String,
    pub message_id: Option<String>,
    pub order_id: Option<OrderId>,
    pub event: Option<String>,
    pub reason: Option<String>,
    /// Of its body, where that is known.
    #[serde(default)]
    pub digest: Option<Digest>,
}

impl DeadLetter {
    /// The service that could not handle it.
    pub fn service(&self) -> &str {
        self.queue.split('.').next().unwrap_or_default()
    }

    /// Whether that is one beside the saga, so that its order goes on.
    pub fn is_beside(&self, add_ons: &[Step]) -> bool {
        services_in(add_ons).any(|service| service == self.service())
    }
}

/// The repaired message has a new id, since its bytes differ.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Repair {
    pub old: EventId,
    pub new: EventId,
}

/// The answers that clients got, if they were recorded.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Told {
    /// Orders answered 201.
    pub placed: Option<Vec<OrderId>>,
    /// Orders whose cancel was answered 202.
    pub cancelled: Option<Vec<OrderId>>,
}

impl Told {
    /// The answers about these orders.
    #[must_use]
    pub fn of(&self, scope: &Scope) -> Self {
        let of = |orders: &Option<Vec<OrderId>>| {
            let orders = orders.as_ref()?.iter().copied();
            Some(orders.filter(|order| scope.contains(*order)).collect())
        };
        Self { placed: of(&self.placed), cancelled: of(&self.cancelled) }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Provider {
    pub charges: Vec<Booking>,
    pub refunds: Vec<Booking>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Booking {
    pub order_id: OrderId,
    pub key: Uuid,
    pub amount: Decimal,
}

/// A state by its name in the tables.
macro_rules! status {
    ($name:ident { $($state:ident = $text:literal),* $(,)? }) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $name {
            $(#[serde(rename = $text)] $state),*
        }

        impl $name {
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$state => $text),*
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str(self.name())
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($text => Ok(Self::$state),)*
                    other => Err(format!("{other:?} is no {}", stringify!($name))),
                }
            }
        }
    };
}

status!(OrderStatus {
    Pending = "PENDING",
    PaymentApproved = "PAYMENT_APPROVED",
    PaymentFailed = "PAYMENT_FAILED",
    PaymentReversed = "PAYMENT_REVERSED",
    InventoryReserved = "INVENTORY_RESERVED",
    InventoryFailed = "INVENTORY_FAILED",
    ShippingFailed = "SHIPPING_FAILED",
    Confirmed = "CONFIRMED",
    Cancelled = "CANCELLED",
});

impl OrderStatus {
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Confirmed | Self::PaymentFailed | Self::Cancelled)
    }
}

status!(PaymentStatus {
    Pending = "PENDING",
    Processing = "PROCESSING",
    Approved = "APPROVED",
    Declined = "DECLINED",
    Retrying = "RETRYING",
    Failed = "FAILED",
    Reversing = "REVERSING",
    Reversed = "REVERSED",
});

status!(ReservationStatus { Reserved = "RESERVED", Released = "RELEASED" });

status!(ShipmentStatus { Scheduled = "SCHEDULED", Failed = "FAILED", Cancelled = "CANCELLED" });
