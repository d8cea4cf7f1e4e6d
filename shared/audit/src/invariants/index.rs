//! Indexes the snapshot by order and by event, in one pass. Reports an event that two places record
//! differently (invariant 6).

use super::{Found, Violation};
use crate::{DeadLetter, Digest, Order, Payment, Reservation, Shipment, Snapshot};
use events::{EventId, OrderId, SAGA, SERVICES, Step, said_at, services_in};
use std::collections::{HashMap, HashSet};

pub struct Index<'a> {
    pub snapshot: &'a Snapshot,
    /// The steps beside the saga.
    pub add_ons: &'a [Step],
    services: Vec<&'static str>,
    pub orders: HashMap<OrderId, View<'a>>,
    pub events: HashMap<EventId, Known<'a>>,
    /// Repaired messages: the new id, and the original one.
    origins: HashMap<EventId, EventId>,
    /// With a dead letter parked or purged.
    excused: HashSet<OrderId>,
    /// The same of services beside the saga, which excuses only them.
    excused_beside: HashSet<OrderId>,
}

/// All rows about one order, from every service. There should be one of each at most.
#[derive(Default)]
pub struct View<'a> {
    pub orders: Vec<&'a Order>,
    pub payments: Vec<&'a Payment>,
    pub reservations: Vec<&'a Reservation>,
    pub shipments: Vec<&'a Shipment>,
    pub refused: bool,
    pub cancel_marked: bool,
    pub events: Vec<EventId>,
}

/// An event that some service has recorded.
pub struct Known<'a> {
    pub event: &'a str,
    pub order_id: OrderId,
    digest: Option<Digest>,
    /// Is it among the order's facts?
    is_fact: bool,
    heard_by: Services,
    parked_at: Services,
}

/// A set of services, by their place in `Index::services`.
#[derive(Clone, Copy, Default)]
struct Services(u64);

impl Services {
    const fn and(self, more: Self) -> Self {
        Self(self.0 | more.0)
    }

    const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// One source's record of an event.
#[derive(Clone, Copy)]
struct Mention<'a> {
    id: EventId,
    event: &'a str,
    order_id: OrderId,
    digest: Option<Digest>,
    is_fact: bool,
    heard_by: Services,
}

impl<'a> Index<'a> {
    pub fn of(add_ons: &'a [Step], snapshot: &'a Snapshot, found: &mut Vec<Violation>) -> Self {
        let mut index = Self {
            snapshot,
            add_ons,
            services: SERVICES.iter().copied().chain(services_in(add_ons)).collect(),
            orders: HashMap::with_capacity(snapshot.orders.len()),
            events: HashMap::with_capacity(snapshot.orders.len() * 5),
            origins: origins(snapshot),
            excused: HashSet::new(),
            excused_beside: HashSet::new(),
        };
        index.sort_by_order();
        index.collect_events(found);
        index.collect_dead_letters();
        index
    }

    /// Those of the saga, and those beside it.
    pub fn steps(&self) -> impl Iterator<Item = &'a Step> + use<'a> {
        SAGA.iter().chain(self.add_ons)
    }

    pub fn knows(&self, service: &str) -> bool {
        self.services.contains(&service)
    }

    /// Whether the service must have this event of the order, if it hears it.
    pub fn gets(&self, service: &str, event: &str, (order, id): (OrderId, EventId)) -> bool {
        let since = || self.snapshot.due.get(service)?.get(event).copied();
        let is_since = |start| said_at(id).is_none_or(|at| at >= start);
        SERVICES.contains(&service)
            || since().is_some_and(is_since) && !self.excused_beside.contains(&order)
    }

    fn one(&self, service: &str) -> Services {
        let place = self.services.iter().position(|known| *known == service);
        Services(place.map_or(0, |place| 1 << place))
    }

    /// Its dead letter must be resolved first; until then it may stand still anywhere.
    pub fn is_excused(&self, order: OrderId) -> bool {
        self.excused.contains(&order)
    }

    /// The orders for which all invariants must hold.
    pub fn due(&self) -> impl Iterator<Item = (OrderId, &View<'a>)> {
        let all = self.orders.iter().map(|(id, view)| (*id, view));
        all.filter(|(id, _)| !self.is_excused(*id))
    }

    /// The original id of a repaired event.
    pub fn origin(&self, id: EventId) -> EventId {
        self.origins.get(&id).copied().unwrap_or(id)
    }

    /// The number of different events of this name for the order.
    pub fn times_said(&self, view: &View<'_>, event: &str) -> usize {
        let ids = view.events.iter().filter(|id| self.events[*id].event == event);
        ids.map(|id| self.origin(*id)).collect::<HashSet<_>>().len()
    }

    pub fn was_said(&self, view: &View<'_>, event: &str) -> bool {
        view.events.iter().any(|id| self.events[id].event == event)
    }

    pub fn is_fact(&self, id: EventId) -> bool {
        self.any(id, |known| known.is_fact)
    }

    pub fn was_heard(&self, id: EventId, service: &str) -> bool {
        let service = self.one(service);
        self.any(id, |known| known.heard_by.meets(service))
    }

    /// Consumed, or in that service's dead letters.
    pub fn has_arrived(&self, id: EventId, service: &str) -> bool {
        let service = self.one(service);
        self.any(id, |known| known.heard_by.and(known.parked_at).meets(service))
    }

    /// Whether it holds for this event, or for one that it was repaired to or from.
    fn any(&self, id: EventId, is_so: impl Fn(&Known) -> bool) -> bool {
        let is_so = |id: EventId| self.events.get(&id).is_some_and(&is_so);
        let origin = self.origin(id);
        let mended = || self.origins.iter().filter(|(_, old)| **old == origin).map(|(new, _)| *new);
        is_so(id) || is_so(origin) || mended().any(is_so)
    }

    /// So old that its idempotency keys may have expired.
    pub fn may_be_forgotten(&self, id: EventId) -> bool {
        self.snapshot.keys_kept_since.is_some_and(|since| said_at(id).is_some_and(|at| at < since))
    }

    fn sort_by_order(&mut self) {
        let Self { snapshot, orders, .. } = self;
        for order in &snapshot.orders {
            orders.entry(order.id).or_default().orders.push(order);
        }
        for payment in &snapshot.payments {
            orders.entry(payment.order_id).or_default().payments.push(payment);
        }
        for reservation in &snapshot.reservations {
            orders.entry(reservation.order_id).or_default().reservations.push(reservation);
        }
        for shipment in &snapshot.shipments {
            orders.entry(shipment.order_id).or_default().shipments.push(shipment);
        }
        for order in &snapshot.refusals {
            orders.entry(*order).or_default().refused = true;
        }
        for order in &snapshot.cancel_marks {
            orders.entry(*order).or_default().cancel_marked = true;
        }
    }

    fn collect_events(&mut self, found: &mut Vec<Violation>) {
        let snapshot = self.snapshot;
        for order in &snapshot.orders {
            for fact in &order.facts {
                let (id, event, order_id) = (fact.event_id, &*fact.event, order.id);
                let heard_by = Services::default();
                let mention =
                    Mention { id, event, order_id, digest: None, is_fact: true, heard_by };
                self.mention(mention, found);
            }
        }
        let handled = snapshot.handled.iter().map(|(service, rows)| (self.one(service), rows));
        let published = snapshot.published.values().map(|rows| (Services::default(), rows));
        for (heard_by, rows) in handled.chain(published).collect::<Vec<_>>() {
            for row in rows {
                let (id, event, order_id) = (row.event_id, &*row.event, row.order_id);
                let digest = Some(row.digest);
                let mention = Mention { id, event, order_id, digest, is_fact: false, heard_by };
                self.mention(mention, found);
            }
        }
        for row in snapshot.outboxes.values().flatten() {
            let (id, event, order_id) = (row.event_id, &*row.event, row.order_id);
            let (digest, heard_by) = (Some(row.digest), Services::default());
            self.mention(Mention { id, event, order_id, digest, is_fact: false, heard_by }, found);
        }
    }

    fn mention(&mut self, mention: Mention<'a>, found: &mut Vec<Violation>) {
        let Mention { id, event, order_id, digest, is_fact, heard_by } = mention;
        let known = self.events.entry(id).or_insert_with(|| {
            self.orders.entry(order_id).or_default().events.push(id);
            let parked_at = Services::default();
            Known { event, order_id, digest, is_fact, heard_by, parked_at }
        });
        if known.event != event || known.order_id != order_id {
            let (name, order) = (known.event, known.order_id);
            let why = format!("event {id} is {event} here, and {name} of order {order} there");
            found.add(6, order_id, why);
        } else if known.digest.zip(digest).is_some_and(|(one, other)| one != other) {
            found.add(6, order_id, format!("{event} {id} does not have the same bytes everywhere"));
        }
        known.digest = known.digest.or(digest);
        known.is_fact |= is_fact;
        known.heard_by = known.heard_by.and(heard_by);
    }

    fn collect_dead_letters(&mut self) {
        let snapshot = self.snapshot;
        for letter in snapshot.dead_letters.iter().chain(&snapshot.purged) {
            let service = letter.service();
            let place = self.one(service);
            let excused = match letter.is_beside(self.add_ons) {
                true => &mut self.excused_beside,
                false => &mut self.excused,
            };
            excused.extend(letter.order_id);
            let Some(known) = event_id(letter).and_then(|id| self.events.get_mut(&id)) else {
                continue;
            };
            excused.insert(known.order_id);
            if letter.queue == format!("{service}.{}.dlq", known.event.replace('.', "-")) {
                known.parked_at = known.parked_at.and(place);
            }
        }
    }
}

fn event_id(letter: &DeadLetter) -> Option<EventId> {
    letter.message_id.as_ref()?.parse().ok()
}

fn origins(snapshot: &Snapshot) -> HashMap<EventId, EventId> {
    let steps: HashMap<_, _> =
        snapshot.repaired.iter().map(|mended| (mended.new, mended.old)).collect();
    let first = |mut id: EventId| {
        for _ in 0..steps.len() {
            let Some(older) = steps.get(&id) else { break };
            id = *older;
        }
        id
    };
    steps.keys().map(|new| (*new, first(*new))).collect()
}
