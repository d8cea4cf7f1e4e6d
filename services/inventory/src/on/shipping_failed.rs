//! ShippingFailed → InventoryReleased

use crate::Shelf;
use events::{InventoryReleased, ShippingFailed};
use reaction::{Decision, Heard, On};

impl On<ShippingFailed> for Shelf {
    fn on(self, event: &Heard<ShippingFailed>) -> Decision<Self> {
        if self.reservation.is_none() {
            return Decision::impossible("nothing is reserved for this order");
        }
        match self.release() {
            None => Decision::nothing(),
            Some(released) => {
                Decision::to(released).and_say(&InventoryReleased { order_id: event.order_id })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Product;
    use events::{Item, Money, ShippingFailure};
    use reaction::scenario::given;
    use uuid::Uuid;

    const ORDER: Uuid = Uuid::from_u128(7);
    const PENS: Uuid = Uuid::from_u128(1);

    fn failed() -> ShippingFailed {
        ShippingFailed { order_id: ORDER, reason: ShippingFailure::CarrierRefused }
    }

    #[test]
    fn what_was_reserved_goes_back_once() {
        let products = [(PENS, Product { total: 5, reserved: 1 })].into();
        let items = [Item { product_id: PENS, quantity: 4, unit_price: Money::ZERO }];
        let reserved = Shelf { products, ..Shelf::default() }.reserve(&items).unwrap();
        let after = given(reserved)
            .when(failed())
            .then_says(&InventoryReleased { order_id: ORDER })
            .state();
        assert_eq!(after.products[&PENS].reserved, 1);
        given(after).when(failed()).then_nothing();
    }

    #[test]
    fn nothing_can_go_back_that_was_never_taken() {
        given(Shelf::default()).when(failed()).then_impossible();
    }
}
