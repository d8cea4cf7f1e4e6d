//! InventoryFailed → (nothing)

use crate::order::Order;
use events::InventoryFailed;
use reaction::{Decision, Heard, On};
use serde_json::json;

impl On<InventoryFailed> for Order {
    fn on(self, heard: &Heard<InventoryFailed>) -> Decision<Self> {
        self.hear(heard, json!({ "short": heard.short }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{on::testing::*, order::Status};
    use events::{Event, ProductId, Shortage};

    #[test]
    fn what_was_short_is_remembered() {
        let short = vec![Shortage { product_id: ProductId::nil(), wanted: 11, available: 10 }];
        let order = is_remembered_once(InventoryFailed { order_id: order_id(), short });
        assert_eq!(order.status(), Status::InventoryFailed);
        let detail = &order.fact(InventoryFailed::NAME).unwrap().detail;
        assert_eq!(detail["short"][0]["available"], 10);
    }
}
