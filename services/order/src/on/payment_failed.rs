//! PaymentFailed → (nothing)

use crate::order::Order;
use events::PaymentFailed;
use reaction::{Decision, Heard, On};
use serde_json::json;

impl On<PaymentFailed> for Order {
    fn on(self, heard: &Heard<PaymentFailed>) -> Decision<Self> {
        let PaymentFailed { reason, attempts, .. } = &heard.event;
        self.hear(heard, json!({ "reason": reason, "attempts": attempts }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{on::testing::*, order::Status};
    use events::PaymentFailure::{self, Cancelled, Declined, Unavailable};
    use reaction::scenario::given;

    fn failed(reason: PaymentFailure) -> PaymentFailed {
        PaymentFailed { order_id: order_id(), reason, attempts: 1 }
    }

    #[test]
    fn a_payment_that_fails_by_itself_ends_the_order() {
        for reason in [Declined, Unavailable] {
            let order = is_remembered_once(failed(reason));
            assert_eq!(order.status(), Status::PaymentFailed);
        }
    }

    #[test]
    fn a_payment_that_was_never_tried_ends_the_order_as_cancelled() {
        let order = given(cancelled()).when(failed(Cancelled)).then_says_nothing().state();
        assert_eq!(order.status(), Status::Cancelled);
    }

    #[test]
    fn a_payment_declined_before_the_cancel_reached_it_is_still_a_failed_one() {
        let order = given(cancelled()).when(failed(Declined)).state();
        assert_eq!(order.status(), Status::PaymentFailed);
    }
}
