//! PaymentApproved → PointsGiven

use crate::{Points, PointsGiven};
use events::PaymentApproved;
use reaction::{Decision, Heard, On};

impl On<PaymentApproved> for Points {
    fn on(self, event: &Heard<PaymentApproved>) -> Decision<Self> {
        if self.given.is_some() {
            return Decision::nothing();
        }
        let points = event.items.iter().map(|item| i64::from(item.quantity)).sum();
        Decision::to(Self { given: Some(points) })
            .and_say(&PointsGiven { order_id: event.order_id, points })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::{Item, Money, OrderId, ProductId};
    use reaction::scenario::given;

    const ORDER: OrderId = OrderId::from_u128(7);

    fn approved() -> PaymentApproved {
        let item = |quantity| Item {
            product_id: ProductId::from_u128(1),
            quantity,
            unit_price: Money::cents(250),
        };
        PaymentApproved {
            order_id: ORDER,
            amount: Money::cents(1250),
            provider_ref: "SIM-1".into(),
            items: vec![item(2), item(3)],
        }
    }

    #[test]
    fn every_piece_is_a_point_and_only_once() {
        let said = PointsGiven { order_id: ORDER, points: 5 };
        let after = given(Points::default()).when(approved()).then_says(&said).state();
        assert_eq!(after, Points { given: Some(5) });
        given(after).when(approved()).then_nothing();
    }
}
