//! 4. CONFIRMED ⇔ exactly one live shipment ⇔ one live reservation.

use super::{Found, Violation, index::Index};
use crate::{OrderStatus, ReservationStatus, ShipmentStatus};

pub fn check(index: &Index<'_>, found: &mut Vec<Violation>) {
    for (order, view) in index.due() {
        let confirmed = view.orders.iter().any(|order| order.status == OrderStatus::Confirmed);
        let is = if confirmed { "CONFIRMED" } else { "not CONFIRMED" };

        let shipments = view.shipments.iter().filter(|s| s.status == ShipmentStatus::Scheduled);
        let shipped = shipments.count();
        if shipped != usize::from(confirmed) {
            found.add(4, order, format!("is {is}, and has {shipped} live shipments"));
        }
        let reservations = view.reservations.iter();
        let reserved = reservations.filter(|r| r.status == ReservationStatus::Reserved).count();
        if reserved != usize::from(confirmed) {
            found.add(4, order, format!("is {is}, and has {reserved} live reservations"));
        }
        if view.refused && !view.reservations.is_empty() {
            found.add(4, order, "inventory has refused it, and has a reservation for it");
        }
        if view.cancel_marked && shipped > 0 {
            found.add(4, order, "shipping knows that it is cancelled, and ships it");
        }
    }
}
