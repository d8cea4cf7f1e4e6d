//! OrderCancelRequested → ShippingFailed

use crate::dispatch::{Dispatch, Shipment, Status, failed};
use events::{OrderCancelRequested, ShippingFailure};
use reaction::{Decision, Heard, On};

impl On<OrderCancelRequested> for Dispatch {
    fn on(self, event: &Heard<OrderCancelRequested>) -> Decision<Self> {
        match self.shipment {
            // If the order comes to shipping later, the mark prevents a shipment.
            None if self.cancel_marked => Decision::nothing(),
            None => Decision::to(Self { cancel_marked: true, shipment: None }),
            Some(shipment) if shipment.status == Status::Scheduled => {
                let voided = Shipment { status: Status::Cancelled, ..shipment };
                Decision::to(Self { shipment: Some(voided), ..self })
                    .and_say(&failed(event.order_id, ShippingFailure::Cancelled))
            }
            Some(_) => Decision::nothing(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::{CancelReason, Money, PaymentMethod};
    use reaction::scenario::given;
    use uuid::Uuid;

    const ORDER: Uuid = Uuid::from_u128(7);

    fn cancel() -> OrderCancelRequested {
        OrderCancelRequested {
            order_id: ORDER,
            reason: CancelReason::Customer,
            payment_method: PaymentMethod::Pix,
            total_amount: Money::ZERO,
        }
    }

    #[test]
    fn before_there_is_a_shipment_it_leaves_a_mark() {
        let after = given(Dispatch::default()).when(cancel()).then_says_nothing().state();
        assert_eq!(after, Dispatch { cancel_marked: true, shipment: None });
        given(after).when(cancel()).then_nothing();
    }

    #[test]
    fn a_shipment_is_voided_and_the_way_back_begins() {
        let shipment = Some(Shipment::book(ORDER, &[]));
        let after = given(Dispatch { cancel_marked: false, shipment })
            .when(cancel())
            .then_says(&failed(ORDER, ShippingFailure::Cancelled))
            .state();
        assert_eq!(after.shipment.as_ref().unwrap().status, Status::Cancelled);
        given(after).when(cancel()).then_nothing();
    }

    #[test]
    fn where_the_carrier_has_refused_the_way_back_has_begun_already() {
        let refused = Shipment { status: Status::Failed, ..Shipment::book(ORDER, &[]) };
        given(Dispatch { cancel_marked: false, shipment: Some(refused) })
            .when(cancel())
            .then_nothing();
    }
}
