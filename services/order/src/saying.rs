//! The two events that this service says: the same moment, as a fact of the order and as a line of
//! the outbox.

use crate::order::Fact;
use events::{Event, said_at};
use messaging::{Outgoing, World};
use saga::Said;
use serde_json::Value;

pub fn say<E: Event>(
    world: &dyn World,
    event: &E,
    detail: Value,
    trace: Option<String>,
) -> (Fact, Outgoing) {
    let said = Outgoing::opening(world, Said::new(event), trace);
    // As with all who hear it.
    let at = said_at(said.id).unwrap_or_else(|| world.now());
    (Fact { event: E::NAME, event_id: said.id, at, caused_by: None, detail }, said)
}
