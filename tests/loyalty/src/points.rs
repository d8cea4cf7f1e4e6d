//! What loyalty knows of an order, and what it says about it. Pure.

use events::{Event, OrderId};
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Points {
    /// None: the order has not been paid for.
    pub given: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PointsGiven {
    pub order_id: OrderId,
    pub points: i64,
}

impl Event for PointsGiven {
    const NAME: &'static str = "loyalty.points-given";

    fn order_id(&self) -> OrderId {
        self.order_id
    }
}
