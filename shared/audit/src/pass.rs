//! Reads the system part by part, from the newest orders to the oldest: each part has all rows of
//! its orders, and memory is bounded by the size of a part.
//!
//! Inboxes are kept by event, not by order. An event comes after its order, so going down in time
//! each row is read once, with its order or before it, and then it is carried until the part of
//! its order. Rows that do not fit in (clocks differ) make their orders `rest`, to be read by id.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::replace;

use anyhow::Result;
use events::{EventId, OrderId};
use uuid::Uuid;

use crate::databases::{Source, Table};
use crate::{Databases, EventRow, Readers, Scope, Snapshot};

/// Orders in a part: 2 KB each while it is checked.
const PART: usize = 10_000;
/// The clocks of two databases rarely differ by more.
const CLOCKS_APART_MS: u128 = 10_000;
/// An id's time are its first 48 bits.
const TIME_SHIFT: u32 = 80;

/// Events that inboxes and outboxes have of some orders.
pub type Events = BTreeMap<OrderId, BTreeSet<EventId>>;

pub struct Pass {
    floor: OrderId,
    /// The highest id of the next part.
    next: Option<OrderId>,
    /// The highest event that is not read yet.
    next_event: EventId,
    carried: BTreeMap<Source, Vec<EventRow>>,
    /// Read after the part of their order.
    early: Events,
    /// Rows of inboxes that were read.
    pub handled: usize,
}

impl Pass {
    /// Over the orders with ids from this one on.
    pub const fn down_to(floor: OrderId) -> Self {
        Self {
            floor,
            next: Some(Uuid::max()),
            next_event: Uuid::max(),
            carried: BTreeMap::new(),
            early: Events::new(),
            handled: 0,
        }
    }

    /// The next part; none after the last one.
    pub async fn next(
        &mut self,
        databases: &mut Databases,
        readers: &Readers,
    ) -> Result<Option<(Scope, Snapshot)>> {
        let Some(last) = self.next else { return Ok(None) };
        let rest = Scope::range(self.floor, last);
        let first = databases.nth_last(readers, &rest, PART).await?.unwrap_or(self.floor);
        let orders = Scope::range(first, last);
        let mut part = databases.rows(readers, &orders).await?;
        let events = Scope::range(self.first_event(first), self.next_event);
        for (source, rows) in databases.events(&events).await? {
            self.handled += if source.0 == Table::Inbox { rows.len() } else { 0 };
            let rows = self.sort(&source, rows, &orders);
            add(&mut part, source, rows);
        }
        self.next_event = before(events.first);
        self.next = Some(before(first)).filter(|_| first > self.floor);
        Ok(Some((orders, part)))
    }

    /// What is below the floor was read before.
    fn first_event(&self, first: OrderId) -> EventId {
        let apart = CLOCKS_APART_MS << TIME_SHIFT;
        self.floor.max(Uuid::from_u128(first.as_u128().saturating_sub(apart)))
    }

    /// The rows of these orders; keeps the others.
    fn sort(&mut self, source: &Source, rows: Vec<EventRow>, orders: &Scope) -> Vec<EventRow> {
        let carried = self.carried.entry(source.clone()).or_default();
        carried.extend(rows);
        let due = carried.extract_if(.., |row| row.order_id >= orders.first);
        let (mine, early): (_, Vec<_>) = due.partition(|row| row.order_id <= orders.last);
        note(&mut self.early, early.iter());
        mine
    }

    /// The orders to be read by id, with the events that were seen of them: those whose rows came
    /// too early, and those below the floor.
    pub fn rest(mut self) -> Events {
        note(&mut self.early, self.carried.values().flatten());
        self.early
    }
}

fn note<'a>(events: &mut Events, rows: impl Iterator<Item = &'a EventRow>) {
    for row in rows {
        events.entry(row.order_id).or_default().insert(row.event_id);
    }
}

/// All rows of these orders: of the inboxes' and histories' rows those that the orders record, and
/// those seen.
pub async fn by_id(
    databases: &mut Databases,
    readers: &Readers,
    seen: &Events,
) -> Result<(Scope, Snapshot)> {
    let orders = Scope::only(seen.keys().copied());
    let mut part = databases.rows(readers, &orders).await?;
    let facts = part.orders.iter().flat_map(|order| &order.facts);
    let recorded = facts.flat_map(|fact| [Some(fact.event_id), fact.caused_by]).flatten();
    let events = Scope::only(recorded.chain(seen.values().flatten().copied()));
    for (source, rows) in databases.events(&events).await? {
        add(&mut part, source, rows);
    }
    Ok((orders, part))
}

fn add(part: &mut Snapshot, (table, service): Source, rows: Vec<EventRow>) {
    let tables = match table {
        Table::Inbox => &mut part.handled,
        Table::History => &mut part.published,
        Table::Outbox => &mut part.outboxes,
    };
    tables.insert(service, rows);
}

/// Divides orders that are read by id.
pub fn parts(mut orders: Events) -> Vec<Events> {
    let mut parts = Vec::new();
    while let Some(next) = orders.keys().nth(PART).copied() {
        let later = orders.split_off(&next);
        parts.push(replace(&mut orders, later));
    }
    parts.push(orders);
    parts.retain(|orders| !orders.is_empty());
    parts
}

/// These orders, with no event yet.
pub fn none_seen(orders: impl Iterator<Item = OrderId>) -> Events {
    orders.map(|order| (order, BTreeSet::new())).collect()
}

/// Adds the events of these orders that the part has in an inbox.
pub fn add_seen(orders: &mut Events, part: &Snapshot) {
    for row in part.handled.values().chain(part.published.values()).flatten() {
        if let Some(events) = orders.get_mut(&row.order_id) {
            events.insert(row.event_id);
        }
    }
}

fn before(id: Uuid) -> Uuid {
    Uuid::from_u128(id.as_u128().saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name;

    fn row(event: u128, order: u128) -> EventRow {
        let (event_id, order_id) = (Uuid::from_u128(event), Uuid::from_u128(order));
        EventRow { event_id, event: name("order.created"), order_id, digest: [0; 16] }
    }

    /// The events that were read, with those of the orders in the part.
    fn sorted(pass: &mut Pass, rows: &[(u128, u128)], first: u128, last: u128) -> Vec<u128> {
        let rows = rows.iter().map(|(event, order)| row(*event, *order)).collect();
        let orders = Scope::range(Uuid::from_u128(first), Uuid::from_u128(last));
        let rows = pass.sort(&(Table::Inbox, "payment".into()), rows, &orders);
        rows.iter().map(|row| row.event_id.as_u128()).collect()
    }

    #[test]
    fn each_row_comes_with_its_order_or_makes_it_one_to_be_read_by_id() {
        let mut pass = Pass::down_to(Uuid::nil());
        let newest = [(900, 800), (850, 300), (801, 100)];
        assert_eq!(sorted(&mut pass, &newest, 700, u128::MAX), [900]);
        let middle = [(600, 550), (510, 750)];
        assert_eq!(sorted(&mut pass, &middle, 200, 699), [850, 600]);
        let rest = pass.rest();
        let rest: Vec<_> = rest.iter().map(|(order, events)| (order.as_u128(), events)).collect();
        let events = |event| BTreeSet::from([Uuid::from_u128(event)]);
        assert_eq!(rest, [(100, &events(801)), (750, &events(510))]);
    }

    #[test]
    fn orders_read_by_id_are_divided_and_none_is_lost() {
        let orders = none_seen((0..2 * PART as u128 + 1).map(Uuid::from_u128));
        let divided = parts(orders.clone());
        assert_eq!(divided.iter().map(Events::len).collect::<Vec<_>>(), [PART, PART, 1]);
        assert_eq!(divided.into_iter().flatten().collect::<Events>(), orders);
        assert_eq!(parts(Events::new()), []);
    }
}
