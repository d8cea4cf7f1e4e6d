//! Small changes to a snapshot.

use crate::healthy::{digest, event_id};
use audit::*;
use events::{OrderId, said_by};
use uuid::Uuid;

/// All rows about one order, to be patched.
pub trait Of {
    fn order(&mut self, id: OrderId) -> &mut Order;
    fn fact(&mut self, id: OrderId, event: &str) -> &mut Fact;
    fn payment(&mut self, id: OrderId) -> &mut Payment;
    fn reservation(&mut self, id: OrderId) -> &mut Reservation;
    fn shipment(&mut self, id: OrderId) -> &mut Shipment;
    fn books(&mut self) -> &mut Provider;
    /// The event disappears from a service's inbox.
    fn unhear(&mut self, service: &str, order: OrderId, event: &str) -> EventRow;
    /// A service has handled the event, under this id.
    fn hear(&mut self, service: &str, order: OrderId, event: &str, event_id: Uuid);
    fn park(&mut self, queue: &str, order: OrderId, event: &str) -> DeadLetter;
}

impl Of for Snapshot {
    fn order(&mut self, id: OrderId) -> &mut Order {
        self.orders.iter_mut().find(|order| order.id == id).unwrap()
    }

    fn fact(&mut self, id: OrderId, event: &str) -> &mut Fact {
        self.order(id).facts.iter_mut().find(|fact| fact.event == event).unwrap()
    }

    fn payment(&mut self, id: OrderId) -> &mut Payment {
        self.payments.iter_mut().find(|payment| payment.order_id == id).unwrap()
    }

    fn reservation(&mut self, id: OrderId) -> &mut Reservation {
        self.reservations.iter_mut().find(|reservation| reservation.order_id == id).unwrap()
    }

    fn shipment(&mut self, id: OrderId) -> &mut Shipment {
        self.shipments.iter_mut().find(|shipment| shipment.order_id == id).unwrap()
    }

    fn books(&mut self) -> &mut Provider {
        self.provider.as_mut().unwrap()
    }

    fn unhear(&mut self, service: &str, order: OrderId, event: &str) -> EventRow {
        let rows = self.handled.get_mut(service).unwrap();
        let is_it = |row: &EventRow| row.order_id == order && row.event == event;
        let place = rows.iter().position(is_it).unwrap();
        rows.remove(place)
    }

    fn hear(&mut self, service: &str, order: OrderId, event: &str, event_id: Uuid) {
        let digest = digest(order, event);
        let row = EventRow { event_id, event: name(event), order_id: order, digest };
        self.handled.get_mut(service).unwrap().push(row);
    }

    fn park(&mut self, queue: &str, order: OrderId, event: &str) -> DeadLetter {
        let letter = DeadLetter {
            queue: queue.into(),
            message_id: Some(event_id(order, event).to_string()),
            order_id: Some(order),
            event: Some(event.into()),
            reason: Some("panic: a test".into()),
            digest: None,
        };
        self.dead_letters.push(letter.clone());
        self.poisoned.as_mut().unwrap().extend(letter.message_id.clone());
        assert_ne!(said_by(queue), said_by(event));
        letter
    }
}
