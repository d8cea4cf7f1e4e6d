//! InventoryReserved → ShippingScheduled | ShippingFailed

use crate::dispatch::{Dispatch, Shipment, Status, failed};
use events::{InventoryReserved, ShippingFailure};
use reaction::{Decision, Heard, On};

impl On<InventoryReserved> for Dispatch {
    fn on(self, event: &Heard<InventoryReserved>) -> Decision<Self> {
        let order = event.order_id;
        if self.shipment.is_some() {
            return Decision::nothing();
        }
        if self.cancel_marked {
            let shipment = Some(Shipment::stillborn(order, &event.items));
            return Decision::to(Self { shipment, ..self })
                .and_say(&failed(order, ShippingFailure::Cancelled));
        }
        let shipment = Shipment::book(order, &event.items);
        let booked = Decision::to(Self { shipment: Some(shipment.clone()), ..self });
        match shipment.status {
            Status::Scheduled => booked.and_say(&shipment.scheduled(order)),
            _ => booked.and_say(&failed(order, ShippingFailure::CarrierRefused)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::{Item, Money, ProductId};
    use reaction::scenario::given;
    use uuid::Uuid;

    const ORDER: Uuid = Uuid::from_u128(7);

    fn reserved(product_id: ProductId) -> InventoryReserved {
        let items = vec![Item { product_id, quantity: 2, unit_price: Money::cents(100) }];
        InventoryReserved { order_id: ORDER, items }
    }

    #[test]
    fn what_is_reserved_is_shipped() {
        let event = reserved(Uuid::from_u128(1));
        let shipment = Shipment::book(ORDER, &event.items);
        given(Dispatch::default()).when(event).then_says(&shipment.scheduled(ORDER));
        assert_eq!(shipment.freight, Money::cents(1300));
    }

    #[cfg(not(feature = "demo"))]
    #[test]
    fn without_the_demonstration_the_carrier_takes_every_product() {
        for product in 0..5 {
            let event = reserved(Uuid::from_u128(product));
            let shipment = Shipment::book(ORDER, &event.items);
            given(Dispatch::default()).when(event).then_says(&shipment.scheduled(ORDER));
        }
    }

    #[cfg(feature = "demo")]
    #[test]
    fn no_carrier_takes_what_is_oversized() {
        let after = given(Dispatch::default())
            .when(reserved(demo::OVERSIZED))
            .then_says(&failed(ORDER, ShippingFailure::CarrierRefused))
            .state();
        let shipment = after.shipment.unwrap();
        assert_eq!((shipment.status, shipment.tracking_code), (Status::Failed, None));
    }

    #[test]
    fn a_cancelled_order_meets_its_mark() {
        let marked = Dispatch { cancel_marked: true, shipment: None };
        let after = given(marked)
            .when(reserved(Uuid::from_u128(1)))
            .then_says(&failed(ORDER, ShippingFailure::Cancelled))
            .state();
        let shipment = after.shipment.unwrap();
        assert_eq!((shipment.status, shipment.tracking_code), (Status::Cancelled, None));
    }

    #[test]
    fn it_is_shipped_once() {
        let event = reserved(Uuid::from_u128(1));
        let shipped = given(Dispatch::default()).when(event.clone()).state();
        given(shipped).when(event).then_nothing();
    }
}
