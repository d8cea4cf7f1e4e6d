//! ShippingScheduled → (nothing)

use crate::order::Order;
use events::ShippingScheduled;
use reaction::{Decision, Heard, On};
use serde_json::json;

impl On<ShippingScheduled> for Order {
    fn on(self, heard: &Heard<ShippingScheduled>) -> Decision<Self> {
        let ShippingScheduled { tracking_code, freight, delivery_days, .. } = &heard.event;
        self.hear(
            heard,
            json!({
                "tracking_code": tracking_code,
                "freight": freight,
                "delivery_days": delivery_days,
            }),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{on::testing::*, order::Status};
    use events::{InventoryReserved, Money, PaymentApproved};
    use reaction::scenario::given;

    fn scheduled() -> ShippingScheduled {
        ShippingScheduled {
            order_id: order_id(),
            tracking_code: "TRK-00000001".into(),
            freight: Money::cents(1300),
            delivery_days: 3,
        }
    }

    fn approved() -> PaymentApproved {
        let (amount, items) = (Money::cents(9980), vec![]);
        PaymentApproved { order_id: order_id(), amount, provider_ref: "ch_1".into(), items }
    }

    fn reserved() -> InventoryReserved {
        InventoryReserved { order_id: order_id(), items: vec![] }
    }

    #[test]
    fn the_last_of_the_three_steps_confirms_whichever_it_is() {
        let order = is_remembered_once(scheduled());
        assert_eq!(order.tracking_code(), Some("TRK-00000001"));
        assert_eq!(order.status(), Status::InventoryReserved);
        let order = given(order).when(approved()).state();
        assert_eq!(order.status(), Status::InventoryReserved);
        let order = given(order).when(reserved()).state();
        assert_eq!(order.status(), Status::Confirmed);
    }

    #[test]
    fn an_order_asked_to_be_cancelled_is_never_confirmed() {
        let order = given(cancelled()).when(approved()).state();
        let order = given(order).when(reserved()).state();
        let order = given(order).when(scheduled()).state();
        assert_eq!(order.status(), Status::InventoryReserved);
    }
}
