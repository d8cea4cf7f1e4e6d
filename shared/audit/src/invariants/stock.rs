//! 3. Per product 0 ≤ reserved ≤ total, and reserved is the sum of live reservations.

use super::{Found, Violation};
use crate::{ReservationStatus, Snapshot};
use std::collections::HashMap;

pub fn check(snapshot: &Snapshot, found: &mut Vec<Violation>) {
    let mut held: HashMap<_, i128> = HashMap::new();
    let live = snapshot.reservations.iter().filter(|r| r.status == ReservationStatus::Reserved);
    for reservation in live {
        for (product, quantity) in &reservation.items {
            if *quantity <= 0 {
                let why = format!("{quantity} of product {product} are reserved");
                found.add(3, reservation.order_id, why);
            }
            *held.entry(*product).or_default() += i128::from(*quantity);
        }
    }
    for product in &snapshot.products {
        let (id, total, reserved) = (product.id, product.total, product.reserved);
        if reserved < 0 || reserved > total {
            let why = format!("product {id} has {reserved} reserved of {total}");
            found.add(3, None, why);
        }
        let sum = held.remove(&id).unwrap_or_default();
        if sum != i128::from(reserved) {
            let why = format!("product {id} says {reserved} reserved; its reservations say {sum}");
            found.add(3, None, why);
        }
    }
    for (product, sum) in held {
        found.add(
            3,
            None,
            format!("{sum} are reserved of product {product}, which does not exist"),
        );
    }
}
