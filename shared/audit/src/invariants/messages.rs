//! 5. Outboxes are empty, no message is in a main or retry queue, each event is in the inbox of
//!    each consumer or in a DLQ; DLQs hold exactly the poisoned messages.

use super::{Found, Violation, index::Index};
use crate::Snapshot;
use events::unheard;
use std::collections::HashSet;

pub fn check(index: &Index<'_>, found: &mut Vec<Violation>) {
    everything_is_sent(index, found);
    everything_is_heard(index, found);
    everyone_hears_only_his_own(index, found);
}

fn everything_is_sent(index: &Index<'_>, found: &mut Vec<Violation>) {
    let unheard = unheard(index.add_ons);
    for (service, rows) in &index.snapshot.outboxes {
        for row in rows.iter().filter(|row| !unheard.contains(&&*row.event)) {
            let why = format!("{} {} is still in {service}'s outbox", row.event, row.event_id);
            found.add(5, row.order_id, why);
        }
    }
}

pub fn queues_are_empty(snapshot: &Snapshot, found: &mut Vec<Violation>) {
    for (queue, messages) in snapshot.queues.iter().filter(|(_, messages)| **messages > 0) {
        found.add(5, None, format!("{queue} still holds {messages}"));
    }
}

fn everything_is_heard(index: &Index<'_>, found: &mut Vec<Violation>) {
    for (order, view) in index.due() {
        for id in &view.events {
            let event = index.events[id].event;
            for step in index.steps().filter(|step| step.hears == event) {
                let is_due =
                    index.gets(step.service, event, (order, *id)) && !index.may_be_forgotten(*id);
                if is_due && !index.has_arrived(*id, step.service) {
                    found.add(5, order, format!("{} has not handled {event} {id}", step.service));
                }
            }
        }
    }
}

fn everyone_hears_only_his_own(index: &Index<'_>, found: &mut Vec<Violation>) {
    let all = index.snapshot.handled.iter().filter(|(service, _)| index.knows(service));
    for (service, rows) in all {
        let own = index.steps().filter(|step| step.service == service);
        let own: HashSet<_> = own.map(|step| step.hears).collect();
        for row in rows.iter().filter(|row| !own.contains(&*row.event)) {
            let why = format!("{service} has handled {}, which is not for it", row.event);
            found.add(5, row.order_id, why);
        }
    }
}

pub fn only_poison_is_parked(snapshot: &Snapshot, found: &mut Vec<Violation>) {
    let Some(poisoned) = &snapshot.poisoned else {
        return;
    };
    let poisoned: HashSet<_> = poisoned.iter().map(String::as_str).collect();
    for letter in &snapshot.dead_letters {
        if !letter.message_id.as_deref().is_some_and(|id| poisoned.contains(id)) {
            let id = letter.message_id.as_deref().unwrap_or("without an id");
            let reason = letter.reason.as_deref().unwrap_or("no reason");
            let why = format!("{} has the unexpected dead letter {id}: {reason}", letter.queue);
            found.add(5, letter.order_id, why);
        }
    }
}
