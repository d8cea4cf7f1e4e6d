//! Builds the two events that order publishes: each as a fact of the order and as an outbox row
//! with the same time.

use crate::order::Fact;
use events::{Event, said_at};
use messaging::{Env, Outgoing};
use reaction::Said;
use serde_json::Value;

pub fn root_event<E: Event>(
    env: &dyn Env,
    event: &E,
    detail: Value,
    trace: Option<String>,
) -> (Fact, Outgoing) {
    let said = Outgoing::root(env, Said::new(event), trace);
    // As for every consumer of the event.
    let at = said_at(said.id).unwrap_or_else(|| env.now());
    (Fact { event: E::NAME, event_id: said.id, at, caused_by: None, detail }, said)
}
