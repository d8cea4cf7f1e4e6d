//! What must always hold, as code: the only copy in the project. It looks at a `Snapshot` of the
//! whole system, wherever that comes from, and does no I/O.
//!
//! 1. Every order answered 201 exists and reaches exactly one final state, by a legal chain of
//!    causes.
//! 2. Charged and not reversed ⇔ CONFIRMED. At most one charge and one reversal an order; amounts
//!    equal.
//! 3. Per product 0 ≤ reserved ≤ total, and reserved is the sum of live reservations.
//! 4. CONFIRMED ⇔ exactly one live shipment ⇔ one live reservation.
//! 5. Outboxes are empty, no message is in a main or retry queue, each event is in the idempotency
//!    table of each hearer or in a DLQ; DLQs hold just what was poisoned.
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
use events::OrderId;
use index::Index;
use serde::Serialize;
use std::fmt;

/// Does anything still move?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quiet {
    /// Nothing is under way any more: whatever is not done now never will be.
    Yes,
    No,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
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

/// Everything in the snapshot that must not be; nothing, where all is well.
pub fn check(snapshot: &Snapshot, quiet: Quiet) -> Vec<Violation> {
    let mut found = Vec::new();
    let index = Index::of(snapshot, &mut found);
    stock::check(snapshot, &mut found);
    money::once(&index, &mut found);
    if quiet == Quiet::Yes {
        story::check(&index, &mut found);
        money::check(&index, &mut found);
        goods::check(&index, &mut found);
        messages::check(&index, &mut found);
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// Where violations are put down.
trait Found {
    fn add(&mut self, invariant: u8, order_id: impl Into<Option<OrderId>>, why: impl Into<String>);
}

impl Found for Vec<Violation> {
    fn add(&mut self, invariant: u8, order_id: impl Into<Option<OrderId>>, why: impl Into<String>) {
        self.push(Violation { invariant, order_id: order_id.into(), why: why.into() });
    }
}
