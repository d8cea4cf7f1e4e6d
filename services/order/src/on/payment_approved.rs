//! PaymentApproved → (nothing)

use crate::order::Order;
use events::PaymentApproved;
use reaction::{Decision, Heard, On};
use serde_json::json;

impl On<PaymentApproved> for Order {
    fn on(self, heard: &Heard<PaymentApproved>) -> Decision<Self> {
        let PaymentApproved { amount, provider_ref, .. } = &heard.event;
        self.hear(heard, json!({ "amount": amount, "provider_ref": provider_ref }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{on::testing::*, order::Status};
    use events::{Event, Money};

    #[test]
    fn an_approved_payment_is_remembered_with_its_reference() {
        let order = is_remembered_once(PaymentApproved {
            order_id: order_id(),
            amount: Money::cents(9980),
            provider_ref: "ch_1".into(),
            items: vec![],
        });
        assert_eq!(order.status(), Status::PaymentApproved);
        let detail = &order.fact(PaymentApproved::NAME).unwrap().detail;
        assert_eq!(detail.to_string(), r#"{"amount":99.80,"provider_ref":"ch_1"}"#);
    }
}
