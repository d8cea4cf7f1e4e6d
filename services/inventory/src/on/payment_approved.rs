//! PaymentApproved → InventoryReserved | InventoryFailed

use crate::Shelf;
use events::{InventoryFailed, InventoryReserved, PaymentApproved, ProductId};
use reaction::{Decision, Heard, On};

impl On<PaymentApproved> for Shelf {
    fn touches(event: &PaymentApproved) -> Vec<ProductId> {
        event.items.iter().map(|item| item.product_id).collect()
    }

    fn on(self, event: &Heard<PaymentApproved>) -> Decision<Self> {
        // The first answer is final: also if there is more in stock by now.
        if self.reservation.is_some() || self.refused {
            return Decision::nothing();
        }
        let order_id = event.order_id;
        match self.clone().reserve(&event.items) {
            Ok(reserved) => {
                let items = event.items.clone();
                Decision::to(reserved).and_say(&InventoryReserved { order_id, items })
            }
            Err(short) => Decision::to(Self { refused: true, ..self })
                .and_say(&InventoryFailed { order_id, short }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Product;
    use events::{Item, Money, Shortage};
    use reaction::scenario::given;
    use uuid::Uuid;

    const ORDER: Uuid = Uuid::from_u128(7);
    const PENS: Uuid = Uuid::from_u128(1);

    fn approved(quantity: u32) -> PaymentApproved {
        PaymentApproved {
            order_id: ORDER,
            amount: Money::cents(100),
            provider_ref: "SIM-1".into(),
            items: vec![Item { product_id: PENS, quantity, unit_price: Money::cents(50) }],
        }
    }

    fn shelf(total: u64) -> Shelf {
        Shelf { products: [(PENS, Product { total, reserved: 0 })].into(), ..Shelf::default() }
    }

    #[test]
    fn every_product_that_is_asked_for_is_looked_at() {
        let (pens, ink) = (approved(1).items, Uuid::from_u128(2));
        let items = vec![pens[0].clone(), Item { product_id: ink, ..pens[0].clone() }];
        let event = PaymentApproved { items, ..approved(1) };
        assert_eq!(<Shelf as On<PaymentApproved>>::touches(&event), [PENS, ink]);
    }

    #[test]
    fn what_is_there_is_reserved() {
        let event = approved(3);
        let items = event.items.clone();
        let after = given(shelf(3))
            .when(event.clone())
            .then_says(&InventoryReserved { order_id: ORDER, items })
            .state();
        assert_eq!(after.products[&PENS], Product { total: 3, reserved: 3 });
        given(after).when(event).then_nothing();
    }

    #[test]
    fn what_is_not_there_is_refused_for_good() {
        let short = vec![Shortage { product_id: PENS, wanted: 4, available: 3 }];
        let after = given(shelf(3))
            .when(approved(4))
            .then_says(&InventoryFailed { order_id: ORDER, short })
            .state();
        assert_eq!((after.refused, after.products[&PENS].reserved), (true, 0));
        let restocked = Shelf { products: shelf(9).products, ..after };
        given(restocked).when(approved(4)).then_nothing();
    }

    #[test]
    fn an_unknown_product_is_out_of_stock() {
        let short = vec![Shortage { product_id: PENS, wanted: 1, available: 0 }];
        given(Shelf::default())
            .when(approved(1))
            .then_says(&InventoryFailed { order_id: ORDER, short });
    }
}
