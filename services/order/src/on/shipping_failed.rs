//! ShippingFailed → (nothing)

use crate::order::Order;
use events::ShippingFailed;
use reaction::{Decision, Heard, On};
use serde_json::json;

impl On<ShippingFailed> for Order {
    fn on(self, heard: &Heard<ShippingFailed>) -> Decision<Self> {
        self.hear(heard, json!({ "reason": heard.reason }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{on::testing::*, order::Status};
    use events::{Event, Money, ShippingFailure, ShippingScheduled};
    use reaction::scenario::given;

    fn failed(reason: ShippingFailure) -> ShippingFailed {
        ShippingFailed { order_id: order_id(), reason }
    }

    #[test]
    fn a_carrier_that_refuses_is_remembered_with_its_reason() {
        let order = is_remembered_once(failed(ShippingFailure::CarrierRefused));
        assert_eq!(order.status(), Status::ShippingFailed);
        let detail = &order.fact(ShippingFailed::NAME).unwrap().detail;
        assert_eq!(detail["reason"], "carrier_refused");
    }

    #[test]
    fn a_voided_shipment_is_no_longer_on_its_way() {
        let scheduled = ShippingScheduled {
            order_id: order_id(),
            tracking_code: "TRK-00000001".into(),
            freight: Money::cents(1300),
            delivery_days: 3,
        };
        let order = given(cancelled()).when(scheduled).state();
        let order = given(order).when(failed(ShippingFailure::Cancelled)).state();
        assert_eq!(order.status(), Status::ShippingFailed);
        assert_eq!(order.tracking_code(), None);
    }
}
