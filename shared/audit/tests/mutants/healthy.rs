//! Builds a healthy system with one order of each ending; each mutant patches it.

use audit::*;
use chrono::{DateTime, Utc};
use events::{OPENINGS, OrderId, SAGA, SERVICES};
use rust_decimal::Decimal;
use uuid::Uuid;

pub const CONFIRMED: OrderId = Uuid::from_u128(1);
pub const DECLINED: OrderId = Uuid::from_u128(2);
pub const SOLD_OUT: OrderId = Uuid::from_u128(3);
pub const REFUSED_BY_CARRIER: OrderId = Uuid::from_u128(4);
/// Its shipment was made already, and is voided.
pub const CANCELLED: OrderId = Uuid::from_u128(5);
/// Payment had not tried yet.
pub const NEVER_CHARGED: OrderId = Uuid::from_u128(6);

pub const PRODUCT: Uuid = Uuid::from_u128(100);

/// The events of an order, each with its cause, and the rows at the end.
struct Story {
    id: OrderId,
    status: OrderStatus,
    says: &'static [(&'static str, &'static str)],
    payment: PaymentStatus,
    reservation: Option<ReservationStatus>,
    shipment: Option<ShipmentStatus>,
}

const STORIES: [Story; 6] = [
    Story {
        id: CONFIRMED,
        status: OrderStatus::Confirmed,
        says: &[
            ("order.created", ""),
            ("payment.approved", "order.created"),
            ("inventory.reserved", "payment.approved"),
            ("shipping.scheduled", "inventory.reserved"),
        ],
        payment: PaymentStatus::Approved,
        reservation: Some(ReservationStatus::Reserved),
        shipment: Some(ShipmentStatus::Scheduled),
    },
    Story {
        id: DECLINED,
        status: OrderStatus::PaymentFailed,
        says: &[("order.created", ""), ("payment.failed", "order.created")],
        payment: PaymentStatus::Declined,
        reservation: None,
        shipment: None,
    },
    Story {
        id: SOLD_OUT,
        status: OrderStatus::Cancelled,
        says: &[
            ("order.created", ""),
            ("payment.approved", "order.created"),
            ("inventory.failed", "payment.approved"),
            ("payment.reversed", "inventory.failed"),
        ],
        payment: PaymentStatus::Reversed,
        reservation: None,
        shipment: None,
    },
    Story {
        id: REFUSED_BY_CARRIER,
        status: OrderStatus::Cancelled,
        says: &[
            ("order.created", ""),
            ("payment.approved", "order.created"),
            ("inventory.reserved", "payment.approved"),
            ("shipping.failed", "inventory.reserved"),
            ("inventory.released", "shipping.failed"),
            ("payment.reversed", "inventory.released"),
        ],
        payment: PaymentStatus::Reversed,
        reservation: Some(ReservationStatus::Released),
        shipment: Some(ShipmentStatus::Failed),
    },
    Story {
        id: CANCELLED,
        status: OrderStatus::Cancelled,
        says: &[
            ("order.created", ""),
            ("payment.approved", "order.created"),
            ("inventory.reserved", "payment.approved"),
            ("order.cancel-requested", ""),
            ("shipping.scheduled", "inventory.reserved"),
            ("shipping.failed", "order.cancel-requested"),
            ("inventory.released", "shipping.failed"),
            ("payment.reversed", "inventory.released"),
        ],
        payment: PaymentStatus::Reversed,
        reservation: Some(ReservationStatus::Released),
        shipment: Some(ShipmentStatus::Cancelled),
    },
    Story {
        id: NEVER_CHARGED,
        status: OrderStatus::Cancelled,
        says: &[
            ("order.created", ""),
            ("order.cancel-requested", ""),
            ("payment.failed", "order.cancel-requested"),
        ],
        payment: PaymentStatus::Failed,
        reservation: None,
        shipment: None,
    },
];

pub fn total() -> Decimal {
    Decimal::new(9980, 2)
}

/// The id of an order's event: made of both, with a time that every test can count from.
pub fn event_id(order: OrderId, event: &str) -> Uuid {
    let noise = Uuid::new_v5(&order, event.as_bytes());
    let noise = noise.as_bytes().last_chunk().unwrap();
    uuid::Builder::from_unix_timestamp_millis(said_at().timestamp_millis() as u64, noise)
        .into_uuid()
}

pub fn said_at() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

pub fn digest(order: OrderId, event: &str) -> Digest {
    Uuid::new_v5(&event_id(order, event), b"body").into_bytes()
}

pub fn healthy() -> Snapshot {
    let mut snapshot = Snapshot::default();
    for service in SERVICES {
        snapshot.handled.insert((*service).into(), Vec::new());
        snapshot.outboxes.insert((*service).into(), Vec::new());
    }
    for step in SAGA {
        let queue = format!("{}.{}", step.service, step.hears.replace('.', "-"));
        snapshot.queues.insert(queue, 0);
    }
    snapshot.products.push(Product { id: PRODUCT, total: 10, reserved: 2 });
    snapshot.refusals.push(SOLD_OUT);
    snapshot.cancel_marks.push(NEVER_CHARGED);
    snapshot.poisoned = Some(Vec::new());
    let mut books = Provider::default();
    for story in &STORIES {
        tell(story, &mut snapshot);
        let says = |event| story.says.iter().any(|(said, _)| *said == event);
        let booking =
            Booking { order_id: story.id, key: event_id(story.id, "key"), amount: total() };
        books.charges.extend(says("payment.approved").then(|| booking.clone()));
        books.refunds.extend(says("payment.reversed").then_some(booking));
    }
    snapshot.provider = Some(books);
    snapshot.told.placed = Some(STORIES.iter().map(|story| story.id).collect());
    snapshot.told.cancelled = Some(vec![CANCELLED, NEVER_CHARGED]);
    snapshot
}

fn tell(story: &Story, snapshot: &mut Snapshot) {
    let order_id = story.id;
    let mut facts = Vec::new();
    for (event, cause) in story.says {
        let id = event_id(order_id, event);
        let hearers = SAGA.iter().filter(|step| step.hears == *event).map(|step| step.service);
        let is_fact = OPENINGS.contains(event) || hearers.clone().any(|service| service == "order");
        if is_fact {
            facts.push(Fact {
                event: name(event),
                event_id: id,
                caused_by: (!cause.is_empty()).then(|| event_id(order_id, cause)),
                reason: (*event == "payment.failed").then(|| reason(story).into()),
                amount: ["payment.approved", "payment.reversed"].contains(event).then(total),
            });
        }
        for service in hearers {
            let digest = digest(order_id, event);
            let row = EventRow { event_id: id, event: name(event), order_id, digest };
            snapshot.handled.get_mut(service).unwrap().push(row);
        }
    }
    snapshot.orders.push(Order { id: order_id, status: story.status, total: total(), facts });
    let says = |event| story.says.iter().any(|(said, _)| *said == event);
    snapshot.payments.push(Payment {
        order_id,
        status: story.payment,
        amount: total(),
        attempts: u32::from(story.id != NEVER_CHARGED),
        provider_ref: says("payment.approved").then(|| "SIM-1".into()),
        refund_ref: says("payment.reversed").then(|| "REF-1".into()),
    });
    let items = vec![(PRODUCT, 2)];
    let reservation = story.reservation.map(|status| Reservation { order_id, status, items });
    snapshot.reservations.extend(reservation);
    let shipment = story.shipment.map(|status| Shipment { order_id, status, tracking_code: None });
    snapshot.shipments.extend(shipment);
}

fn reason(story: &Story) -> &'static str {
    if story.status == OrderStatus::Cancelled { "cancelled" } else { "declined" }
}
