//! OrderCancelRequested → PaymentFailed

use crate::payment::{Call, Charge, Payment, Status};
use events::{OrderCancelRequested, PaymentFailure};
use reaction::{Decision, Heard, On};
use std::time::Duration;

impl On<OrderCancelRequested> for Payment {
    fn on(self, event: &Heard<OrderCancelRequested>) -> Decision<Self> {
        let Some(charge) = self.charge else {
            return unheard_of(event).fail(Status::Failed, PaymentFailure::Cancelled);
        };
        match charge.status {
            Status::Pending | Status::Retrying | Status::Processing if charge.cancel_requested => {
                Decision::nothing()
            }
            // The provider may have charged it: void it, or learn that it was charged.
            Status::Pending | Status::Retrying if charge.may_be_charged() => {
                let void = Charge { cancel_requested: true, next_call: Call::Void, ..charge };
                Decision::to(void.due(Status::Retrying, Duration::ZERO).into())
            }
            // No call was made to the provider.
            Status::Pending | Status::Retrying => Charge { cause: event.as_cause(), ..charge }
                .fail(Status::Failed, PaymentFailure::Cancelled),
            Status::Processing => Decision::to(Charge { cancel_requested: true, ..charge }.into()),
            // Money that was taken is refunded after shipping's answer.
            Status::Approved
            | Status::Declined
            | Status::Failed
            | Status::Reversing
            | Status::Reversed => Decision::nothing(),
        }
    }
}

/// The cancel has overtaken its order, which finds this record when it arrives.
fn unheard_of(event: &Heard<OrderCancelRequested>) -> Charge {
    let OrderCancelRequested { order_id, payment_method, total_amount, .. } = event.event;
    Charge::new(order_id, payment_method, total_amount, Vec::new(), event.as_cause())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::on::examples::{ORDER, cancel, charge, created, payment};
    use events::PaymentFailed;
    use reaction::scenario::{given, heard};
    use uuid::Uuid;

    const SAID: PaymentFailed =
        PaymentFailed { order_id: ORDER, reason: PaymentFailure::Cancelled, attempts: 0 };

    #[test]
    fn an_order_not_heard_of_is_never_charged() {
        let after = given(Payment::default()).when(cancel()).then_says(&SAID).state();
        given(after.clone()).when(created()).then_nothing();
        given(after).when(cancel()).then_nothing();
    }

    #[test]
    fn a_charge_that_was_never_sent_is_dropped() {
        for status in [Status::Pending, Status::Retrying] {
            let after = given(payment(status)).when(cancel()).then_says(&SAID).state();
            let charge = after.charge.unwrap();
            assert_eq!((charge.status, charge.due_in), (Status::Failed, None));
            assert_eq!(charge.cause, heard(cancel()).as_cause());
        }
    }

    #[test]
    fn a_charge_that_was_sent_fails_only_by_the_word_of_the_provider() {
        for (in_doubt, attempts) in [(true, 0), (false, 1), (true, 1)] {
            let sent = Charge { in_doubt, attempts, ..charge(Status::Retrying) };
            let after = given(Payment::from(sent)).when(cancel()).then_says_nothing().state();
            let charge = after.charge.clone().unwrap();
            assert_eq!((charge.status, charge.next_call), (Status::Retrying, Call::Void));
            assert_eq!((charge.cancel_requested, charge.due_in), (true, Some(Duration::ZERO)));
            given(after).when(cancel()).then_nothing();
        }
    }

    #[test]
    fn a_charge_in_hand_is_marked_and_stays_in_hand() {
        let claim = Some(Uuid::from_u128(1));
        let in_hand = Charge { claim, ..charge(Status::Processing) };
        let after = given(Payment::from(in_hand)).when(cancel()).then_says_nothing().state();
        let charge = after.charge.clone().unwrap();
        assert!(charge.cancel_requested);
        assert_eq!((charge.status, charge.claim), (Status::Processing, claim));
        given(after).when(cancel()).then_nothing();
    }

    #[test]
    fn what_is_decided_stays_decided() {
        use Status::{Approved, Declined, Failed, Reversed, Reversing};
        for status in [Approved, Declined, Failed, Reversing, Reversed] {
            given(payment(status)).when(cancel()).then_nothing();
        }
    }
}
