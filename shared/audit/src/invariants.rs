//! Checks the invariants: the only copy of them in the project. Reads a `Snapshot` of the whole
//! system from any source, and does no I/O.
//!
//! 1. Every order answered 201 exists and reaches exactly one final state, by a legal chain of
//!    causes.
//! 2. Charged and not reversed ⇔ CONFIRMED. At most one charge and one reversal an order; amounts
//!    equal.
//! 3. Per product 0 ≤ reserved ≤ total, and reserved is the sum of live reservations.
//! 4. CONFIRMED ⇔ exactly one live shipment ⇔ one live reservation.
//! 5. Outboxes are empty, no message is in a main or retry queue, each event is in the inbox of
//!    each consumer or in a DLQ; DLQs hold exactly the poisoned messages. A service beside the saga
//!    is a consumer where its database was read, from the time on that `Due` has.
//! 6. The same event id has the same bytes for ever.
//!
//! At every moment: 3, 6, and at most one charge and one reversal an order. When it is quiet, for
//! every order with no dead letter parked or purged: all of them.

mod goods;
mod index;
mod messages;
mod money;
mod stock;
mod story;

use crate::Snapshot;
use events::{ADD_ONS, OrderId, Step};
use index::Index;
use serde::{Deserialize, Serialize};
use std::fmt;

pub use stock::Held;

/// Whether the system is still moving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quiet {
    /// Nothing is under way: what is not done by now never will be.
    Yes,
    No,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Violation {
    /// Its number in the list above.
    pub invariant: u8,
    pub order_id: Option<OrderId>,
    pub why: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: ", self.invariant)?;
        if let Some(order) = self.order_id {
            write!(out, "order {order}: ")?;
        }
        out.write_str(&self.why)
    }
}

/// All violations in the snapshot.
pub fn check(snapshot: &Snapshot, quiet: Quiet) -> Vec<Violation> {
    check_with(ADD_ONS, snapshot, quiet)
}

/// The same with these steps beside the saga.
pub fn check_with(add_ons: &[Step], snapshot: &Snapshot, quiet: Quiet) -> Vec<Violation> {
    let mut held = Held::default();
    held.add(snapshot, |_| true);
    let mut found = check_orders(add_ons, snapshot, quiet);
    found.extend(check_whole(snapshot, &held, quiet));
    sorted(found)
}

/// The violations of single orders. The snapshot may be a part of the system, with all rows of its
/// orders.
pub fn check_orders(add_ons: &[Step], snapshot: &Snapshot, quiet: Quiet) -> Vec<Violation> {
    let mut found = Vec::new();
    let index = Index::of(add_ons, snapshot, &mut found);
    stock::quantities(snapshot, &mut found);
    money::once(&index, &mut found);
    if quiet == Quiet::Yes {
        story::check(&index, &mut found);
        money::check(&index, &mut found);
        goods::check(&index, &mut found);
        messages::check(&index, &mut found);
    }
    sorted(found)
}

/// The violations of the system as a whole: its products, of which all orders hold so much, and its
/// queues.
pub fn check_whole(snapshot: &Snapshot, held: &Held, quiet: Quiet) -> Vec<Violation> {
    let mut found = Vec::new();
    stock::check(snapshot, held, &mut found);
    if quiet == Quiet::Yes {
        messages::queues_are_empty(snapshot, &mut found);
        messages::only_poison_is_parked(snapshot, &mut found);
    }
    sorted(found)
}

/// Each once, by invariant.
pub fn sorted(mut found: Vec<Violation>) -> Vec<Violation> {
    found.sort_unstable();
    found.dedup();
    found
}

/// Collects violations.
trait Found {
    fn add(&mut self, invariant: u8, order_id: impl Into<Option<OrderId>>, why: impl Into<String>);
}

impl Found for Vec<Violation> {
    fn add(&mut self, invariant: u8, order_id: impl Into<Option<OrderId>>, why: impl Into<String>) {
        self.push(Violation { invariant, order_id: order_id.into(), why: why.into() });
    }
}
