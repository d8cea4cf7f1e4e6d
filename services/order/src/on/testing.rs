//! Orders to begin a test with.

use crate::order::{Fact, Order};
use chrono::DateTime;
use events::{Event, EventId, OrderCancelRequested, OrderCreated, OrderId};
use reaction::scenario::given;
use serde_json::json;

pub fn order_id() -> OrderId {
    OrderId::from_u128(7)
}

/// Just placed.
pub fn placed() -> Order {
    Order::new([own::<OrderCreated>()])
}

/// Placed, and asked to be cancelled.
pub fn cancelled() -> Order {
    Order::new([own::<OrderCreated>(), own::<OrderCancelRequested>()])
}

fn own<E: Event>() -> Fact {
    Fact {
        event: E::NAME,
        event_id: EventId::new_v5(&order_id(), E::NAME.as_bytes()),
        at: DateTime::UNIX_EPOCH,
        caused_by: None,
        detail: json!({}),
    }
}

/// Checks every reaction here: it needs an order, publishes nothing, and has its effect once.
#[track_caller]
pub fn is_remembered_once<E: Event>(event: E) -> Order
where
    Order: reaction::On<E>,
{
    given(Order::default()).when(event.clone()).then_impossible();
    let after = given(placed()).when(event.clone()).then_says_nothing().state();
    assert!(after.has::<E>());
    given(after.clone()).when(event).then_nothing();
    after
}
