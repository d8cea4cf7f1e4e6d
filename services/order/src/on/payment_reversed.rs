//! PaymentReversed → (nothing)

use crate::order::Order;
use events::PaymentReversed;
use reaction::{Decision, Heard, On};
use serde_json::json;

impl On<PaymentReversed> for Order {
    fn on(self, heard: &Heard<PaymentReversed>) -> Decision<Self> {
        let PaymentReversed { amount, refund_ref, .. } = &heard.event;
        self.hear(heard, json!({ "amount": amount, "refund_ref": refund_ref }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{on::testing::*, order::Status};
    use events::{InventoryFailed, Money};
    use reaction::scenario::given;

    fn reversed() -> PaymentReversed {
        let order_id = order_id();
        PaymentReversed { order_id, amount: Money::cents(9980), refund_ref: "re_1".into() }
    }

    #[test]
    fn a_reversal_whose_reason_is_not_yet_known_does_not_end_the_order() {
        let order = is_remembered_once(reversed());
        assert_eq!(order.status(), Status::PaymentReversed);
        assert!(!order.status().is_final());
    }

    #[test]
    fn a_reversal_and_its_reason_end_the_order_whichever_comes_first() {
        let short = InventoryFailed { order_id: order_id(), short: vec![] };
        let reason_last = given(is_remembered_once(reversed())).when(short.clone()).state();
        let reason_first = given(is_remembered_once(short)).when(reversed()).state();
        assert_eq!(reason_last.status(), Status::Cancelled);
        assert_eq!(reason_first, reason_last);
    }
}
