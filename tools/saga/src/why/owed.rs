//! What is still to be done for an order, and by whom: told from the table of the saga's steps and
//! from nothing else. Pure.

use std::collections::BTreeSet;

use events::{SAGA, Step};

/// What was said for an order and who has handled it, whoever remembers that.
#[derive(Clone, Debug, Default)]
pub struct Known {
    pub said: BTreeSet<String>,
    /// Service and event.
    pub heard: BTreeSet<(String, String)>,
}

/// One step that somebody owes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Debt {
    /// The event was said, and the step's service has not handled it.
    Hear(&'static Step),
    /// It was handled, and none of its answers is known of.
    Say(&'static Step),
}

pub fn owed(known: &Known) -> Vec<Debt> {
    SAGA.iter().filter_map(|step| debt(step, known)).collect()
}

fn debt(step: &'static Step, known: &Known) -> Option<Debt> {
    if !known.said.contains(step.hears) {
        return None;
    }
    if !known.heard.contains(&(step.service.to_owned(), step.hears.to_owned())) {
        return Some(Debt::Hear(step));
    }
    let is_answered = step.may_say.iter().any(|answer| known.said.contains(*answer));
    let owes = !step.may_say.is_empty() && !is_answered && !only_hurries(step);
    owes.then_some(Debt::Say(step))
}

/// Its answers are a part of another step's: it changes how that one is answered (a cancel does),
/// and owes nothing of its own.
fn only_hurries(step: &Step) -> bool {
    let answers = |step: &Step| step.may_say.iter().copied().collect::<BTreeSet<_>>();
    let own = answers(step);
    let others = SAGA.iter().filter(|other| other.service == step.service);
    others.map(answers).any(|others| others.len() > own.len() && others.is_superset(&own))
}

#[cfg(test)]
mod tests {
    use super::*;
    use invariants::OrderStatus;

    /// Everybody has heard these, but for those who are named.
    fn after(said: &[&str], but: &[(&str, &str)]) -> Known {
        let heard = SAGA.iter().filter(|step| said.contains(&step.hears));
        let heard = heard.map(|step| (step.service.to_owned(), step.hears.to_owned()));
        let is_missing =
            |(service, event): &(String, String)| but.contains(&(service.as_str(), event.as_str()));
        Known {
            said: said.iter().map(|event| (*event).to_owned()).collect(),
            heard: heard.filter(|pair| !is_missing(pair)).collect(),
        }
    }

    fn told(known: &Known) -> Vec<String> {
        let word = |debt: Debt| match debt {
            Debt::Hear(step) => format!("{} hears {}", step.service, step.hears),
            Debt::Say(step) => format!("{} says {}", step.service, step.may_say.join("|")),
        };
        owed(known).into_iter().map(word).collect()
    }

    const PAID: [&str; 2] = ["order.created", "payment.approved"];
    const RESERVED: [&str; 3] = [PAID[0], PAID[1], "inventory.reserved"];

    /// What was said when the order is in a status, with everything heard: the next step's answer
    /// is what is missing.
    const STATUSES: &[(OrderStatus, &[&str], &[&str])] = &[
        (
            OrderStatus::Pending,
            &["order.created"],
            &["payment says payment.approved|payment.failed"],
        ),
        (
            OrderStatus::PaymentApproved,
            &PAID,
            &["inventory says inventory.reserved|inventory.failed"],
        ),
        (OrderStatus::PaymentFailed, &["order.created", "payment.failed"], &[]),
        (
            OrderStatus::InventoryReserved,
            &RESERVED,
            &["shipping says shipping.scheduled|shipping.failed"],
        ),
        (
            OrderStatus::InventoryFailed,
            &[PAID[0], PAID[1], "inventory.failed"],
            &["payment says payment.reversed"],
        ),
        (
            OrderStatus::ShippingFailed,
            &[PAID[0], PAID[1], RESERVED[2], "shipping.failed"],
            &["inventory says inventory.released"],
        ),
        // Released, and not yet paid back: the order does not hear the difference.
        (
            OrderStatus::ShippingFailed,
            &[PAID[0], PAID[1], RESERVED[2], "shipping.failed", "inventory.released"],
            &["payment says payment.reversed"],
        ),
        // Its cause is on the way, and whoever says it has said it.
        (
            OrderStatus::PaymentReversed,
            &[PAID[0], PAID[1], "payment.reversed"],
            &["inventory says inventory.reserved|inventory.failed"],
        ),
        (OrderStatus::Confirmed, &[PAID[0], PAID[1], RESERVED[2], "shipping.scheduled"], &[]),
        (OrderStatus::Cancelled, &[PAID[0], PAID[1], "inventory.failed", "payment.reversed"], &[]),
        (
            OrderStatus::Cancelled,
            &["order.created", "order.cancel-requested", "payment.failed"],
            &[],
        ),
        (
            OrderStatus::Cancelled,
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
            assert!(!status.is_final() || missing.is_empty(), "{status}");
        }
        let all = [
            "PENDING",
            "PAYMENT_APPROVED",
            "PAYMENT_FAILED",
            "PAYMENT_REVERSED",
            "INVENTORY_RESERVED",
            "INVENTORY_FAILED",
            "SHIPPING_FAILED",
            "CONFIRMED",
            "CANCELLED",
        ];
        for status in all {
            assert!(STATUSES.iter().any(|(known, ..)| known.name() == status), "{status}");
        }
    }

    #[test]
    fn who_has_not_heard_owes_that_first() {
        for step in SAGA {
            let known = after(&[step.hears], &[(step.service, step.hears)]);
            assert!(owed(&known).contains(&Debt::Hear(step)), "{step:?}");
        }
        let deaf =
            after(&PAID, &[("inventory", "payment.approved"), ("order", "payment.approved")]);
        assert_eq!(
            told(&deaf),
            ["inventory hears payment.approved", "order hears payment.approved"]
        );
    }

    #[test]
    fn a_cancel_asks_for_no_answer_of_its_own() {
        let asked = after(&["order.created", "order.cancel-requested"], &[]);
        assert_eq!(told(&asked), ["payment says payment.approved|payment.failed"]);
    }
}
