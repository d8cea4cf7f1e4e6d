//! Determines which steps of an order are pending, and which service owes them: from the saga table
//! alone.

use crate::{SAGA, Step};
use std::collections::BTreeSet;

/// The published events of an order and the services that have handled them, from any source.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    pub said: BTreeSet<String>,
    /// Service and event.
    pub heard: BTreeSet<(String, String)>,
}

/// One pending step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PendingStep {
    /// The event was published, and the step's service has not handled it.
    Handle(&'static Step),
    /// It was handled, and none of its answers is known.
    Answer(&'static Step),
}

impl PendingStep {
    pub const fn step(self) -> &'static Step {
        let (Self::Handle(step) | Self::Answer(step)) = self;
        step
    }
}

pub fn pending_steps(known: &Observed) -> Vec<PendingStep> {
    SAGA.iter().filter_map(|step| pending_step(step, known)).collect()
}

/// The steps of services beside the saga whose event was published and not handled. No answer is
/// owed by them.
pub fn unhandled(add_ons: &'static [Step], known: &Observed) -> Vec<PendingStep> {
    let pending = add_ons.iter().filter_map(|step| pending_step(step, known));
    pending.filter(|step| matches!(step, PendingStep::Handle(_))).collect()
}

fn pending_step(step: &'static Step, known: &Observed) -> Option<PendingStep> {
    if !known.said.contains(step.hears) {
        return None;
    }
    if !known.heard.contains(&(step.service.to_owned(), step.hears.to_owned())) {
        return Some(PendingStep::Handle(step));
    }
    let is_answered = step.may_say.iter().any(|answer| known.said.contains(*answer));
    let owes = !step.may_say.is_empty() && !is_answered && !only_hurries(step);
    owes.then_some(PendingStep::Answer(step))
}

/// Its answers are a part of another step's: it changes that step's answer (a cancel does), and
/// owes none of its own.
fn only_hurries(step: &Step) -> bool {
    let answers = |step: &Step| step.may_say.iter().copied().collect::<BTreeSet<_>>();
    let own = answers(step);
    let others = SAGA.iter().filter(|other| other.service == step.service);
    others.map(answers).any(|others| others.len() > own.len() && others.is_superset(&own))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All consumers have handled these, except those named.
    fn after(said: &[&str], but: &[(&str, &str)]) -> Observed {
        let heard = SAGA.iter().filter(|step| said.contains(&step.hears));
        let heard = heard.map(|step| (step.service.to_owned(), step.hears.to_owned()));
        let is_missing =
            |(service, event): &(String, String)| but.contains(&(service.as_str(), event.as_str()));
        Observed {
            said: said.iter().map(|event| (*event).to_owned()).collect(),
            heard: heard.filter(|pair| !is_missing(pair)).collect(),
        }
    }

    fn told(known: &Observed) -> Vec<String> {
        let word = |pending_step: PendingStep| match pending_step {
            PendingStep::Handle(step) => format!("{} hears {}", step.service, step.hears),
            PendingStep::Answer(step) => {
                format!("{} says {}", step.service, step.may_say.join("|"))
            }
        };
        pending_steps(known).into_iter().map(word).collect()
    }

    const PAID: [&str; 2] = ["order.created", "payment.approved"];
    const RESERVED: [&str; 3] = [PAID[0], PAID[1], "inventory.reserved"];

    /// The events published when the order is in a status, and all handled: only the next step's
    /// answer is missing.
    const STATUSES: &[(&str, &[&str], &[&str])] = &[
        ("PENDING", &["order.created"], &["payment says payment.approved|payment.failed"]),
        ("PAYMENT_APPROVED", &PAID, &["inventory says inventory.reserved|inventory.failed"]),
        ("PAYMENT_FAILED", &["order.created", "payment.failed"], &[]),
        ("INVENTORY_RESERVED", &RESERVED, &["shipping says shipping.scheduled|shipping.failed"]),
        (
            "INVENTORY_FAILED",
            &[PAID[0], PAID[1], "inventory.failed"],
            &["payment says payment.reversed"],
        ),
        (
            "SHIPPING_FAILED",
            &[PAID[0], PAID[1], RESERVED[2], "shipping.failed"],
            &["inventory says inventory.released"],
        ),
        // Released, and not yet refunded: order cannot tell the difference.
        (
            "SHIPPING_FAILED",
            &[PAID[0], PAID[1], RESERVED[2], "shipping.failed", "inventory.released"],
            &["payment says payment.reversed"],
        ),
        // Its cause is under way, and its publisher has published it.
        (
            "PAYMENT_REVERSED",
            &[PAID[0], PAID[1], "payment.reversed"],
            &["inventory says inventory.reserved|inventory.failed"],
        ),
        ("CONFIRMED", &[PAID[0], PAID[1], RESERVED[2], "shipping.scheduled"], &[]),
        ("CANCELLED", &[PAID[0], PAID[1], "inventory.failed", "payment.reversed"], &[]),
        ("CANCELLED", &["order.created", "order.cancel-requested", "payment.failed"], &[]),
        (
            "CANCELLED",
            &[
                PAID[0],
                PAID[1],
                RESERVED[2],
                "order.cancel-requested",
                "shipping.scheduled",
                "shipping.failed",
                "inventory.released",
                "payment.reversed",
            ],
            &[],
        ),
    ];

    #[test]
    fn in_every_status_the_one_who_is_to_answer_is_told() {
        for (status, said, missing) in STATUSES {
            assert_eq!(told(&after(said, &[])), *missing, "{status} after {said:?}");
        }
    }

    #[test]
    fn who_has_not_heard_owes_that_first() {
        for step in SAGA {
            let known = after(&[step.hears], &[(step.service, step.hears)]);
            assert!(pending_steps(&known).contains(&PendingStep::Handle(step)), "{step:?}");
        }
        let consumers_stopped =
            after(&PAID, &[("inventory", "payment.approved"), ("order", "payment.approved")]);
        assert_eq!(
            told(&consumers_stopped),
            ["inventory hears payment.approved", "order hears payment.approved"]
        );
    }

    #[test]
    fn a_cancel_asks_for_no_answer_of_its_own() {
        let asked = after(&["order.created", "order.cancel-requested"], &[]);
        assert_eq!(told(&asked), ["payment says payment.approved|payment.failed"]);
    }
}
