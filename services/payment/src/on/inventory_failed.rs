//! InventoryFailed → PaymentReversed

use crate::payment::Payment;
use events::InventoryFailed;
use reaction::{Decision, Heard, On};

impl On<InventoryFailed> for Payment {
    fn on(self, event: &Heard<InventoryFailed>) -> Decision<Self> {
        self.give_back(event.as_cause())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        on::examples::{ORDER, payment},
        payment::Status,
    };
    use reaction::scenario::{given, heard};
    use std::time::Duration;

    fn failed() -> InventoryFailed {
        InventoryFailed { order_id: ORDER, short: Vec::new() }
    }

    #[test]
    fn a_refund_is_due_under_one_key() {
        let after = given(payment(Status::Approved)).when(failed()).then_says_nothing().state();
        let charge = after.charge.clone().unwrap();
        assert_eq!((charge.status, charge.due_in), (Status::Reversing, Some(Duration::ZERO)));
        let asked = heard(failed());
        assert_eq!((charge.refund_key, charge.cause), (Some(asked.id), asked.as_cause()));
        given(after).when(failed()).then_nothing();
        given(payment(Status::Reversed)).when(failed()).then_nothing();
    }

    #[test]
    fn nothing_goes_back_that_was_never_taken() {
        given(Payment::default()).when(failed()).then_impossible();
        for status in [
            Status::Pending,
            Status::Processing,
            Status::Retrying,
            Status::Declined,
            Status::Failed,
        ] {
            given(payment(status)).when(failed()).then_impossible();
        }
    }
}
