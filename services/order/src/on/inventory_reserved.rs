//! InventoryReserved → (nothing)

use crate::order::Order;
use events::InventoryReserved;
use reaction::{Decision, Heard, On};
use serde_json::json;

impl On<InventoryReserved> for Order {
    fn on(self, heard: &Heard<InventoryReserved>) -> Decision<Self> {
        let units: u64 = heard.items.iter().map(|item| u64::from(item.quantity)).sum();
        self.hear(heard, json!({ "units": units }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{on::testing::*, order::Status};
    use events::{Event, Item, Money, ProductId};

    #[test]
    fn a_reservation_is_remembered_with_its_size() {
        let item = Item { product_id: ProductId::nil(), quantity: 2, unit_price: Money::ZERO };
        let items = vec![item.clone(), item];
        let order = is_remembered_once(InventoryReserved { order_id: order_id(), items });
        assert_eq!(order.status(), Status::InventoryReserved);
        assert_eq!(order.fact(InventoryReserved::NAME).unwrap().detail["units"], 4);
    }
}
