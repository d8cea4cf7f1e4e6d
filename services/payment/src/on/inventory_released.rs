//! InventoryReleased → PaymentReversed

use crate::payment::Payment;
use events::InventoryReleased;
use reaction::{Decision, Heard, On};

impl On<InventoryReleased> for Payment {
    fn on(self, event: &Heard<InventoryReleased>) -> Decision<Self> {
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

    const RELEASED: InventoryReleased = InventoryReleased { order_id: ORDER };

    #[test]
    fn a_refund_is_due() {
        let after = given(payment(Status::Approved)).when(RELEASED).then_says_nothing().state();
        let charge = after.charge.clone().unwrap();
        assert_eq!(
            (charge.status, charge.refund_key),
            (Status::Reversing, Some(heard(RELEASED).id))
        );
        given(after).when(RELEASED).then_nothing();
    }

    #[test]
    fn nothing_goes_back_that_was_never_taken() {
        given(Payment::default()).when(RELEASED).then_impossible();
        given(payment(Status::Declined)).when(RELEASED).then_impossible();
    }
}
