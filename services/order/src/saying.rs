//! The two events that this service says: the same moment, as a fact of the order and as a line of
//! the outbox.

use crate::order::Fact;
use chrono::{DateTime, Utc};
use events::Event;
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
    let at = said_at(&said).unwrap_or_else(|| world.now());
    (Fact { event: E::NAME, event_id: said.id, at, caused_by: None, detail }, said)
}

/// The id tells the time, here as with all who hear it.
fn said_at(said: &Outgoing) -> Option<DateTime<Utc>> {
    let (seconds, nanos) = said.id.get_timestamp()?.to_unix();
    DateTime::from_timestamp(seconds.cast_signed(), nanos)
}
