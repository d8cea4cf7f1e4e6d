//! OrderCreated → PaymentApproved | PaymentFailed

use crate::payment::{Charge, Payment, Status};
use events::OrderCreated;
use saga::{Decision, Heard, On};
use std::time::Duration;

impl On<OrderCreated> for Payment {
    /// Only records what is due: the charge desk answers.
    fn on(self, event: &Heard<OrderCreated>) -> Decision<Self> {
        // Known already: perhaps by a cancel that overtook it, which has been answered.
        if self.charge.is_some() {
            return Decision::nothing();
        }
        let charge = Charge {
            order_id: event.order_id,
            status: Status::Pending,
            method: event.payment_method,
            amount: event.total_amount,
            items: event.items.clone(),
            cancel_requested: false,
            attempts: 0,
            refund_attempts: 0,
            provider_ref: None,
            refund_ref: None,
            last_error: None,
            cause: event.as_cause(),
            charge_key: event.id,
            refund_key: None,
            due_in: None,
            claim: None,
        };
        Decision::to(charge.due(Status::Pending, Duration::ZERO).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::on::examples::{created, payment};
    use saga::scenario::{given, heard};

    #[test]
    fn a_charge_is_due_at_once_under_the_key_of_its_event() {
        let after = given(Payment::default()).when(created()).then_says_nothing().state();
        let charge = after.charge.unwrap();
        assert_eq!((charge.status, charge.due_in), (Status::Pending, Some(Duration::ZERO)));
        assert_eq!(charge.charge_key, heard(created()).id);
    }

    #[test]
    fn an_order_that_is_known_is_charged_no_second_time() {
        for status in Status::ALL {
            given(payment(status)).when(created()).then_nothing();
        }
    }
}
