//! Makes the examples with the service's own code: an order passes the reactions, and the state
//! that they save is the example.

use chrono::{DateTime, TimeDelta, Utc};
use demo::{CUSTOMER, DemoOrder};
use events::{
    Event, EventId, InventoryReserved, Item, Money, OrderCreated, OrderId, PaymentApproved,
    PaymentMethod, ShippingScheduled,
};
use order::{Fact, News, Order, Step, View, http::END};
use reaction::{Decision, Heard, On};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::time::Duration;
use uuid::Builder;

const DEADLINE: Duration = Duration::from_mins(10);
const TOTAL: Money = Money::cents(9980);

fn began() -> DateTime<Utc> {
    DateTime::from_timestamp_millis(1_767_614_400_000).expect("a moment in January 2026")
}

/// A UUIDv7, and always the same.
fn id(after_ms: i64, of: &str) -> EventId {
    let at_ms = (began() + TimeDelta::milliseconds(after_ms)).timestamp_millis();
    let random = Sha256::digest(of);
    let random = random.first_chunk().expect("a digest is longer than that");
    Builder::from_unix_timestamp_millis(at_ms.unsigned_abs(), random).into_uuid()
}

pub fn order_id() -> OrderId {
    id(0, "order")
}

/// An order just placed, as the API answers it.
pub fn placed() -> View {
    let asked = DemoOrder::CONFIRMED;
    let detail = json!({ "payment_method": asked.method, "total_amount": TOTAL });
    let created = Fact {
        event: OrderCreated::NAME,
        event_id: id(1, OrderCreated::NAME),
        at: began(),
        caused_by: None,
        detail,
    };
    View {
        id: order_id(),
        customer_id: CUSTOMER,
        payment_method: PaymentMethod::CreditCard,
        total_amount: TOTAL,
        items: asked.items(),
        created_at: began(),
        order: Order::new([created]),
        waits_for: None,
    }
}

/// An order that is paid for, and not yet reserved.
pub fn under_way() -> View {
    let mut view = placed();
    view.order = paid(view.order);
    view.at(began() + TimeDelta::milliseconds(45), DEADLINE)
}

pub fn confirmed() -> View {
    let mut view = placed();
    let (order_id, items) = (view.id, view.items.clone());
    view.order = hear(paid(view.order), 48, InventoryReserved { order_id, items });
    view.order = hear(
        view.order,
        71,
        ShippingScheduled {
            order_id,
            tracking_code: format!("TRK-{}", &order_id.simple().to_string()[24..]),
            freight: Money::cents(1300),
            delivery_days: 4,
        },
    );
    view.at(began() + TimeDelta::seconds(1), DEADLINE)
}

fn paid(order: Order) -> Order {
    let (order_id, items) = (order_id(), DemoOrder::CONFIRMED.items());
    let provider_ref = "SIM-81ab0ac6b71f".into();
    hear(order, 23, PaymentApproved { order_id, amount: TOTAL, provider_ref, items })
}

/// Each event is caused by the one before.
fn hear<E: Event>(order: Order, after_ms: i64, event: E) -> Order
where
    Order: On<E>,
{
    let heard = Heard {
        event,
        id: id(after_ms, E::NAME),
        at: began() + TimeDelta::milliseconds(after_ms),
        caused_by: order.timeline().last().map(|fact| fact.event_id),
        trace: None,
    };
    match order.on(&heard) {
        Decision::Change { state, .. } => state,
        other => panic!("the example order cannot hear {}: {other:?}", E::NAME),
    }
}

/// An order to place.
pub fn draft() -> String {
    let [item] = &DemoOrder::CONFIRMED.items()[..] else { panic!("the example has one item") };
    let Item { product_id, quantity, unit_price } = item;
    format!(
        r#"{{
  "customer_id": "{CUSTOMER}",
  "payment_method": "credit_card",
  "items": [{{
    "product_id": "{product_id}",
    "quantity": {quantity},
    "unit_price": {unit_price}
  }}]
}}"#
    )
}

/// A whole stream, step by step.
pub fn stream() -> String {
    let (view, mut text) = (confirmed(), String::new());
    for fact in view.order.timeline() {
        let data = serde_json::to_string(&Step::from(fact)).expect("a step is plain data");
        text += &format!("event: step\ndata: {data}\nid: {}\n\n", fact.event_id);
    }
    let end = json!({ "status": view.order.status() });
    text + &format!("event: end\ndata: {end}\nid: {END}\n\n")
}

/// The stream of all orders, here with one.
pub fn news() -> String {
    let view = confirmed();
    let mut text = String::new();
    News::all(view.id, &view.order).for_each(|news| news.write(&mut text));
    text
}
