//! The four services' states of the orders, and which shipped reaction handles an event.

use crate::{
    Product, Shelf, dispatch::Dispatch, order::Order, payment::Payment, queues::Message,
    shelf::Reservation,
};
use events::{
    Event, InventoryFailed, InventoryReleased, InventoryReserved, OrderCancelRequested,
    OrderCreated, OrderId, PaymentApproved, PaymentFailed, PaymentReversed, ProductId,
    ShippingFailed, ShippingScheduled,
};
use reaction::{Decision, On, Said};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Default)]
pub struct Stores {
    pub orders: BTreeMap<OrderId, Order>,
    pub payments: BTreeMap<OrderId, Payment>,
    pub stock: Stock,
    pub dispatches: BTreeMap<OrderId, Dispatch>,
}

pub struct Stock {
    pub products: BTreeMap<ProductId, Product>,
    reservations: BTreeMap<OrderId, Reservation>,
    refused: BTreeSet<OrderId>,
}

impl Default for Stock {
    fn default() -> Self {
        let totals = [(demo::QUILL, 1000), (demo::LIMITED, 10), (demo::SOLD_OUT, 0)];
        let totals = totals.into_iter().chain([(demo::OVERSIZED, 1000)]);
        let products = totals.map(|(id, total)| (id, Product { total, reserved: 0 })).collect();
        Self { products, reservations: BTreeMap::new(), refused: BTreeSet::new() }
    }
}

/// The decision of the state's reaction to whichever of these events it is.
macro_rules! decide {
    ($state:expr, $message:expr, $($event:ident),*) => {
        match $message.said.event {
            $(<$event as Event>::NAME => {
                let heard = $message.heard::<$event>();
                heard.map_or(Decision::impossible("it cannot be read"), |heard| $state.on(&heard))
            })*
            other => Decision::impossible(format!("no reaction to {other}")),
        }
    };
}

impl Stores {
    /// Handles a message in a service: the events that it publishes, or why it is a dead letter.
    pub fn handle(&mut self, service: &str, message: &Message) -> Result<Vec<Said>, String> {
        let id = message.order_id();
        match service {
            "order" => {
                let order = self.orders.get(&id).cloned().unwrap_or_default();
                let decision = decide!(
                    order,
                    message,
                    PaymentApproved,
                    PaymentFailed,
                    PaymentReversed,
                    InventoryReserved,
                    InventoryFailed,
                    ShippingScheduled,
                    ShippingFailed
                );
                save(decision, |order| drop(self.orders.insert(id, order)))
            }
            "payment" => {
                let payment = self.payments.get(&id).cloned().unwrap_or_default();
                let decision = decide!(
                    payment,
                    message,
                    OrderCreated,
                    OrderCancelRequested,
                    InventoryFailed,
                    InventoryReleased
                );
                save(decision, |payment| drop(self.payments.insert(id, payment)))
            }
            "inventory" => {
                let shelf = self.stock.shelf(id);
                let decision = decide!(shelf, message, PaymentApproved, ShippingFailed);
                save(decision, |shelf| self.stock.put(id, shelf))
            }
            _ => {
                let dispatch = self.dispatches.get(&id).cloned().unwrap_or_default();
                let decision = decide!(dispatch, message, InventoryReserved, OrderCancelRequested);
                save(decision, |dispatch| drop(self.dispatches.insert(id, dispatch)))
            }
        }
    }
}

fn save<S>(decision: Decision<S>, put: impl FnOnce(S)) -> Result<Vec<Said>, String> {
    match decision {
        Decision::Nothing => Ok(Vec::new()),
        Decision::Change { state, says } => {
            put(state);
            Ok(says)
        }
        Decision::Impossible(why) => Err(why),
    }
}

impl Stock {
    fn shelf(&self, id: OrderId) -> Shelf {
        Shelf {
            reservation: self.reservations.get(&id).cloned(),
            refused: self.refused.contains(&id),
            products: self.products.clone(),
        }
    }

    fn put(&mut self, id: OrderId, shelf: Shelf) {
        self.products = shelf.products;
        self.reservations.extend(shelf.reservation.map(|held| (id, held)));
        self.refused.extend(shelf.refused.then_some(id));
    }
}
