//! Renders an order as JSON for clients.

use crate::{
    order::{Fact, Order, Status},
    waiting::{Waiting, millis},
};
use chrono::{DateTime, Utc};
use events::{EventId, Item, Money, OrderId, PaymentMethod, said_by};
use serde::{Serialize, Serializer};
use serde_json::Value;
use std::time::Duration;
use uuid::Uuid;

#[derive(Clone, Debug, PartialEq)]
pub struct View {
    pub id: OrderId,
    pub customer_id: Uuid,
    pub payment_method: PaymentMethod,
    pub total_amount: Money,
    pub items: Vec<Item>,
    pub created_at: DateTime<Utc>,
    pub order: Order,
    /// Not in the answer to a POST, which is stored and sent again.
    pub waits_for: Option<Vec<Waiting>>,
}

impl View {
    /// As it is seen at this moment.
    #[must_use]
    pub fn at(self, now: DateTime<Utc>, deadline: Duration) -> Self {
        let waits_for = Some(Waiting::of(&self.order, now, deadline));
        Self { waits_for, ..self }
    }

    pub fn updated_at(&self) -> DateTime<Utc> {
        self.order.updated_at().unwrap_or(self.created_at)
    }
}

#[derive(Serialize)]
struct Shown<'a> {
    order_id: OrderId,
    customer_id: Uuid,
    payment_method: PaymentMethod,
    status: Status,
    total_amount: Money,
    items: &'a [Item],
    tracking_code: Option<&'a str>,
    #[serde(serialize_with = "millis")]
    created_at: DateTime<Utc>,
    #[serde(serialize_with = "millis")]
    updated_at: DateTime<Utc>,
    timeline: Vec<Step<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    waits_for: Option<&'a [Waiting]>,
}

impl Serialize for View {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let shown = Shown {
            order_id: self.id,
            customer_id: self.customer_id,
            payment_method: self.payment_method,
            status: self.order.status(),
            total_amount: self.total_amount,
            items: &self.items,
            tracking_code: self.order.tracking_code(),
            created_at: self.created_at,
            updated_at: self.updated_at(),
            timeline: self.order.timeline().iter().map(Step::from).collect(),
            waits_for: self.waits_for.as_deref(),
        };
        shown.serialize(serializer)
    }
}

/// A line of the timeline.
#[derive(Serialize)]
pub struct Step<'a> {
    event: &'a str,
    event_id: EventId,
    service: &'a str,
    #[serde(serialize_with = "millis")]
    at: DateTime<Utc>,
    caused_by: Option<EventId>,
    detail: &'a Value,
}

impl<'a> From<&'a Fact> for Step<'a> {
    fn from(fact: &'a Fact) -> Self {
        let Fact { event, event_id, at, caused_by, detail } = fact;
        let (event_id, at, caused_by) = (*event_id, *at, *caused_by);
        Self { event, event_id, service: said_by(event), at, caused_by, detail }
    }
}
