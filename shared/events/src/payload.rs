//! Defines the payloads of the ten events: each is enough for every consumer to act on it alone.

use crate::{Event, Money, OrderId, PaymentMethod, ProductId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A quantity of one product, at this unit price.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Item {
    pub product_id: ProductId,
    pub quantity: u32,
    pub unit_price: Money,
}

/// A customer has placed an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct OrderCreated {
    pub order_id: OrderId,
    pub customer_id: Uuid,
    pub payment_method: PaymentMethod,
    pub total_amount: Money,
    pub items: Vec<Item>,
}

/// Why the order is cancelled: by the customer, or by the deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum CancelReason {
    Customer,
    Deadline,
}

/// The order is to be cancelled. Carries what payment needs when `order.created` has not arrived
/// yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct OrderCancelRequested {
    pub order_id: OrderId,
    pub reason: CancelReason,
    pub payment_method: PaymentMethod,
    pub total_amount: Money,
}

/// The order is paid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PaymentApproved {
    pub order_id: OrderId,
    pub amount: Money,
    pub provider_ref: String,
    pub items: Vec<Item>,
}

/// Why it was not charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum PaymentFailure {
    Declined,
    Unavailable,
    Cancelled,
}

/// The order was not charged, and will not be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PaymentFailed {
    pub order_id: OrderId,
    pub reason: PaymentFailure,
    pub attempts: u32,
}

/// The payment was refunded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PaymentReversed {
    pub order_id: OrderId,
    pub amount: Money,
    pub refund_ref: String,
}

/// All items are reserved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct InventoryReserved {
    pub order_id: OrderId,
    pub items: Vec<Item>,
}

/// A product has less stock than was ordered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Shortage {
    pub product_id: ProductId,
    pub wanted: u64,
    pub available: u64,
}

/// Nothing is reserved, since some items are out of stock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct InventoryFailed {
    pub order_id: OrderId,
    pub short: Vec<Shortage>,
}

/// The reserved items are released.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct InventoryReleased {
    pub order_id: OrderId,
}

/// A shipment is scheduled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ShippingScheduled {
    pub order_id: OrderId,
    pub tracking_code: String,
    pub freight: Money,
    pub delivery_days: u8,
}

/// Why no shipment is scheduled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ShippingFailure {
    CarrierRefused,
    Cancelled,
}

/// No shipment is scheduled, and none will be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ShippingFailed {
    pub order_id: OrderId,
    pub reason: ShippingFailure,
}

macro_rules! named {
    ($($event:ident => $name:literal),* $(,)?) => {
        $(impl Event for $event {
            const NAME: &'static str = $name;

            fn order_id(&self) -> OrderId {
                self.order_id
            }

            // As by default, and compiled here, once.
            fn from_json(body: &[u8]) -> serde_json::Result<Self> {
                serde_json::from_slice(body)
            }

            fn to_json(&self) -> String {
                serde_json::to_string(self).expect("an event is plain data")
            }
        })*

        /// The names of all events.
        pub const EVENTS: &[&str] = &[$($name),*];

        /// The JSON Schema of each event's body, by its name.
        #[cfg(feature = "schema")]
        pub fn schemas() -> Vec<(&'static str, schemars::Schema)> {
            vec![$(schema_of::<$event>()),*]
        }
    };
}

/// The JSON Schema of an event's body, after its name.
#[cfg(feature = "schema")]
pub fn schema_of<E: Event + schemars::JsonSchema>() -> (&'static str, schemars::Schema) {
    let draft = schemars::generate::SchemaSettings::draft07();
    (E::NAME, draft.into_generator().into_root_schema_for::<E>())
}

named! {
    OrderCreated => "order.created",
    OrderCancelRequested => "order.cancel-requested",
    PaymentApproved => "payment.approved",
    PaymentFailed => "payment.failed",
    PaymentReversed => "payment.reversed",
    InventoryReserved => "inventory.reserved",
    InventoryFailed => "inventory.failed",
    InventoryReleased => "inventory.released",
    ShippingScheduled => "shipping.scheduled",
    ShippingFailed => "shipping.failed",
}
