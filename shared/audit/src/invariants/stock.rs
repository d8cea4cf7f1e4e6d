//! 3. Per product 0 ≤ reserved ≤ total, and reserved is the sum of live reservations.

use super::{Found, Violation};
use crate::{Reservation, ReservationStatus, Snapshot};
use events::{OrderId, ProductId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What live reservations hold of each product.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held(BTreeMap<ProductId, i64>);

impl Held {
    /// Adds the live reservations of these orders.
    pub fn add(&mut self, snapshot: &Snapshot, is_its: impl Fn(OrderId) -> bool) {
        self.count(snapshot, is_its, i64::saturating_add);
    }

    pub fn subtract(&mut self, snapshot: &Snapshot, is_its: impl Fn(OrderId) -> bool) {
        self.count(snapshot, is_its, i64::saturating_sub);
    }

    fn count(
        &mut self,
        snapshot: &Snapshot,
        is_its: impl Fn(OrderId) -> bool,
        count: fn(i64, i64) -> i64,
    ) {
        let reservations = live(snapshot).filter(|reservation| is_its(reservation.order_id));
        for (product, quantity) in reservations.flat_map(|reservation| &reservation.items) {
            let sum = self.0.entry(*product).or_default();
            *sum = count(*sum, *quantity);
        }
    }
}

fn live(snapshot: &Snapshot) -> impl Iterator<Item = &Reservation> {
    snapshot.reservations.iter().filter(|r| r.status == ReservationStatus::Reserved)
}

pub fn quantities(snapshot: &Snapshot, found: &mut Vec<Violation>) {
    for reservation in live(snapshot) {
        for (product, quantity) in reservation.items.iter().filter(|(_, quantity)| *quantity <= 0) {
            let why = format!("{quantity} of product {product} are reserved");
            found.add(3, reservation.order_id, why);
        }
    }
}

pub fn check(snapshot: &Snapshot, held: &Held, found: &mut Vec<Violation>) {
    let mut held = held.0.clone();
    for product in &snapshot.products {
        let (id, total, reserved) = (product.id, product.total, product.reserved);
        if reserved < 0 || reserved > total {
            let why = format!("product {id} has {reserved} reserved of {total}");
            found.add(3, None, why);
        }
        let sum = held.remove(&id).unwrap_or_default();
        if sum != reserved {
            let why = format!("product {id} says {reserved} reserved; its reservations say {sum}");
            found.add(3, None, why);
        }
    }
    for (product, sum) in held.into_iter().filter(|(_, sum)| *sum != 0) {
        found.add(
            3,
            None,
            format!("{sum} are reserved of product {product}, which does not exist"),
        );
    }
}
