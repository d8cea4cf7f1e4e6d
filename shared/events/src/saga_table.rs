//! Defines the choreography as data: the only place with the steps. Queues, bindings, dead letters
//! and the documents derive from it, and tests compare the code with it.

use crate::*;

/// One step: a service consumes an event and may answer with one of several others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    pub service: &'static str,
    pub hears: &'static str,
    /// At most one of these is published for an order, at once or after work of the service's own.
    pub may_say: &'static [&'static str],
    /// A compensation. Such a message is retried for ever and never dies of failed attempts.
    pub compensates: bool,
}

impl Step {
    /// This step can be deferred: it publishes nothing, and the saga goes on in another service.
    pub fn can_wait(&self) -> bool {
        let goes_on = |other: &Step| other.hears == self.hears && !other.may_say.is_empty();
        self.may_say.is_empty() && SAGA.iter().any(goes_on)
    }
}

/// The root events, which order publishes for a customer.
pub const OPENINGS: &[&str] = &[OrderCreated::NAME, OrderCancelRequested::NAME];

pub const SERVICES: &[&str] = &["order", "payment", "inventory", "shipping"];

pub const SAGA: &[Step] = &[
    step("payment", OrderCreated::NAME, &[PaymentApproved::NAME, PaymentFailed::NAME]),
    step("payment", OrderCancelRequested::NAME, &[PaymentFailed::NAME]),
    undo("payment", InventoryFailed::NAME, &[PaymentReversed::NAME]),
    undo("payment", InventoryReleased::NAME, &[PaymentReversed::NAME]),
    step("inventory", PaymentApproved::NAME, &[InventoryReserved::NAME, InventoryFailed::NAME]),
    undo("inventory", ShippingFailed::NAME, &[InventoryReleased::NAME]),
    step("shipping", InventoryReserved::NAME, &[ShippingScheduled::NAME, ShippingFailed::NAME]),
    step("shipping", OrderCancelRequested::NAME, &[ShippingFailed::NAME]),
    step("order", PaymentApproved::NAME, &[]),
    step("order", PaymentFailed::NAME, &[]),
    step("order", PaymentReversed::NAME, &[]),
    step("order", InventoryReserved::NAME, &[]),
    step("order", InventoryFailed::NAME, &[]),
    step("order", ShippingScheduled::NAME, &[]),
    step("order", ShippingFailed::NAME, &[]),
];

/// The steps of services beside the saga: they hear its events, and no order waits for them.
/// `saga new` adds to it.
pub const ADD_ONS: &[Step] = &[];

/// The JSON Schema of each body of their events, by its name. `saga new` adds to it.
#[cfg(feature = "schema")]
pub fn schemas_beside() -> Vec<(&'static str, schemars::Schema)> {
    vec![]
}

const fn step(
    service: &'static str,
    hears: &'static str,
    may_say: &'static [&'static str],
) -> Step {
    Step { service, hears, may_say, compensates: false }
}

const fn undo(
    service: &'static str,
    hears: &'static str,
    may_say: &'static [&'static str],
) -> Step {
    Step { service, hears, may_say, compensates: true }
}

/// The steps of one service.
pub fn steps_of(service: &str) -> impl Iterator<Item = &'static Step> {
    SAGA.iter().filter(move |step| step.service == service)
}

/// The services beside the saga.
pub fn add_ons() -> impl Iterator<Item = &'static str> {
    services_in(ADD_ONS)
}

/// The services that these steps are of.
pub fn services_in(steps: &[Step]) -> impl Iterator<Item = &'static str> {
    steps.chunk_by(|one, next| one.service == next.service).map(|steps| steps[0].service)
}

/// The events of these services beside the saga that no service hears yet: they wait in the outbox.
pub fn unheard(add_ons: &[Step]) -> Vec<&'static str> {
    let said = add_ons.iter().flat_map(|step| step.may_say).copied();
    said.filter(|event| add_ons.iter().all(|step| step.hears != *event)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_event_is_said_by_someone_and_heard_by_someone() {
        let said: BTreeSet<_> =
            SAGA.iter().flat_map(|step| step.may_say).chain(OPENINGS).copied().collect();
        let heard: BTreeSet<_> = SAGA.iter().map(|step| step.hears).collect();
        let all: BTreeSet<_> = EVENTS.iter().copied().collect();
        assert_eq!(said, all);
        assert_eq!(heard, all);
    }

    #[test]
    fn order_can_wait_with_what_others_go_on_with_and_with_no_ending() {
        let found = SAGA.iter().filter(|step| step.can_wait());
        let found: Vec<_> = found.map(|step| (step.service, step.hears)).collect();
        let records = [
            PaymentApproved::NAME,
            InventoryReserved::NAME,
            InventoryFailed::NAME,
            ShippingFailed::NAME,
        ];
        assert_eq!(found, records.map(|event| ("order", event)));
    }

    #[test]
    fn what_no_service_beside_the_saga_hears_yet_is_unheard() {
        let points = step("loyalty", PaymentApproved::NAME, &["loyalty.points-given"]);
        let gift = step("loyalty", ShippingScheduled::NAME, &["loyalty.gift-due"]);
        let mail = step("mail", "loyalty.points-given", &[]);
        assert_eq!(unheard(&[points, gift, mail]), ["loyalty.gift-due"]);
        let services: Vec<_> = services_in(&[points, gift, mail]).collect();
        assert_eq!(services, ["loyalty", "mail"]);
    }

    #[test]
    fn nobody_says_what_belongs_to_another_or_hears_himself() {
        for step in SAGA {
            assert!(step.may_say.iter().all(|event| said_by(event) == step.service), "{step:?}");
            assert_ne!(said_by(step.hears), step.service, "{step:?}");
        }
    }
}
