//! Customers that place orders, repeat unanswered requests, and cancel.

use crate::{
    chaos::{Chaos, lock},
    fleet::{Fleet, Front},
};
use audit::Told;
use events::{CancelReason, Item, Money, OrderId, PaymentMethod, ProductId};
use memory_stores::order::OrderStore;
use order::{Draft, Outcome, Request};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::sleep;
use uuid::Uuid;

/// The answers that they got, and answers that they should not have got.
pub struct Customers {
    /// Each order is for one of these.
    products: &'static [u128],
    placed: Mutex<Vec<OrderId>>,
    cancelled: Mutex<Vec<OrderId>>,
    lies: Mutex<Vec<String>>,
}

/// Those with ample stock most often.
pub const PRODUCTS: &[u128] = &[1, 1, 1, 1, 1, 2, 2, 3, 4, 9];

impl Customers {
    pub fn of(products: &'static [u128]) -> Self {
        let (placed, cancelled, lies) = Default::default();
        Self { products, placed, cancelled, lies }
    }

    pub fn told(&self) -> Told {
        let list = |list: &Mutex<Vec<_>>| Some(lock(list).clone());
        Told { placed: list(&self.placed), cancelled: list(&self.cancelled) }
    }

    pub fn lies(&self) -> Vec<String> {
        lock(&self.lies).clone()
    }

    /// One customer, from the first request to the last.
    pub async fn visit(self: Arc<Self>, fleet: Arc<Fleet>, number: usize, within: Duration) {
        let chaos = fleet.chaos.clone();
        sleep(chaos.within(0..within.as_millis() as u64)).await;
        let key = (chaos.below(10) > 0).then(|| format!("customer {number}"));
        let draft = draft(&chaos, number, self.products);
        let request = Request { draft, key, client: None, trace: None };
        let Some(order) = self.place(&fleet, &request).await else {
            return;
        };
        lock(&self.placed).push(order);
        chaos.note("customer", "is answered 201", &[order]);
        if chaos.below(4) == 0 {
            sleep(chaos.within(0..8000)).await;
            self.cancel(&fleet, order).await;
        }
        if request.key.is_some() && chaos.below(4) == 0 {
            let again = self.place(&fleet, &request).await;
            if again != Some(order) {
                lock(&self.lies).push(format!("one key has made {order} and {again:?}"));
            }
        }
    }

    /// Without a key, a repeated request could place a second order.
    async fn place(&self, fleet: &Fleet, request: &Request) -> Option<OrderId> {
        loop {
            if let Some(Front { placing, ended, .. }) = fleet.front() {
                let answered = ended.run_until_cancelled(placing.place(request.clone())).await;
                match answered {
                    Some(Ok(answered)) => return Some(answered.order_id),
                    _ if request.key.is_none() => return None,
                    _ => {}
                }
            }
            sleep(fleet.chaos.within(100..2000)).await;
        }
    }

    async fn cancel(&self, fleet: &Fleet, order: OrderId) {
        loop {
            if let Some(Front { context, ended, .. }) = fleet.front() {
                let asked = order::cancel(
                    context,
                    OrderStore::default(),
                    order,
                    CancelReason::Customer,
                    None,
                );
                match ended.run_until_cancelled(asked).await {
                    Some(Ok(Outcome::Accepted(_))) => {
                        fleet.chaos.note("customer", "is answered 202", &[order]);
                        return lock(&self.cancelled).push(order);
                    }
                    Some(Ok(Outcome::TooLate(_))) => return,
                    Some(Ok(Outcome::Unknown)) => {
                        return lock(&self.lies)
                            .push(format!("{order} was placed, and is unknown"));
                    }
                    Some(Err(_)) | None => {}
                }
            }
            sleep(fleet.chaos.within(100..2000)).await;
        }
    }
}

pub fn customer(number: usize) -> Uuid {
    Uuid::from_u128(number as u128)
}

fn draft(chaos: &Chaos, number: usize, products: &[u128]) -> Draft {
    let product_id = ProductId::from_u128(chaos.among(products));
    let quantity = chaos.among(&[1, 2, 5]);
    let unit_price = Money::cents(4990);
    let mut items = vec![Item { product_id, quantity, unit_price }];
    if chaos.below(3) == 0 {
        items.push(Item { product_id: ProductId::from_u128(2), quantity: 1, unit_price });
    }
    let pieces = items.iter().map(|item| item.quantity).sum();
    Draft {
        customer_id: customer(number),
        payment_method: chaos.among(PaymentMethod::ALL),
        total_amount: unit_price.times(pieces).expect("it is little"),
        items,
    }
}
