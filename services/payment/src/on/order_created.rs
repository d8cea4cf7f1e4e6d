//! OrderCreated → PaymentApproved | PaymentFailed

use crate::payment::{Charge, Payment, Status};
use events::OrderCreated;
use reaction::{Decision, Heard, On};
use std::time::Duration;

impl On<OrderCreated> for Payment {
    /// Only records what is due: the charge desk answers.
    fn on(self, event: &Heard<OrderCreated>) -> Decision<Self> {
        // Known already: perhaps by a cancel that overtook it, which has been answered.
        if self.charge.is_some() {
            return Decision::nothing();
        }
        if event.items.is_empty() || event.items.iter().any(|item| item.quantity == 0) {
            return Decision::impossible("an order of nothing is not charged");
        }
        let OrderCreated { order_id, payment_method, total_amount, .. } = event.event;
        let items = event.items.clone();
        let charge = Charge::new(order_id, payment_method, total_amount, items, event.as_cause());
        Decision::to(charge.due(Status::Pending, Duration::ZERO).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::on::examples::{created, payment};
    use reaction::scenario::{given, heard};

    #[test]
    fn a_charge_is_due_at_once_under_the_key_of_its_event() {
        let after = given(Payment::default()).when(created()).then_says_nothing().state();
        let charge = after.charge.unwrap();
        assert_eq!((charge.status, charge.due_in), (Status::Pending, Some(Duration::ZERO)));
        assert_eq!(charge.charge_key, heard(created()).id);
    }

    #[test]
    fn an_order_of_nothing_is_not_charged() {
        let mut empty = created();
        empty.items[0].quantity = 0;
        given(Payment::default()).when(empty.clone()).then_impossible();
        empty.items.clear();
        given(Payment::default()).when(empty).then_impossible();
    }

    #[test]
    fn an_order_that_is_known_is_charged_no_second_time() {
        for status in Status::ALL {
            given(payment(status)).when(created()).then_nothing();
        }
    }
}
