//! An order is the set of facts recorded for it, its own two events included. Its status and
//! timeline are functions of that set, so neither arrival order nor repetition of events matters.

mod status;

use chrono::{DateTime, Utc};
use events::{
    Event, EventId, InventoryFailed, InventoryReleased, InventoryReserved, OPENINGS,
    OrderCancelRequested, OrderCreated, PaymentApproved, PaymentFailed, PaymentReversed, SAGA,
    ShippingFailed, ShippingScheduled, said_at, said_by, steps_of,
};
use reaction::{Decision, Heard};
use serde_json::{Value, json};
use std::time::Duration;

pub use status::Status;

/// The saga's order: sorts facts of the same millisecond.
const IN_ORDER: [&str; 10] = [
    OrderCreated::NAME,
    OrderCancelRequested::NAME,
    PaymentApproved::NAME,
    PaymentFailed::NAME,
    InventoryReserved::NAME,
    InventoryFailed::NAME,
    ShippingScheduled::NAME,
    ShippingFailed::NAME,
    InventoryReleased::NAME,
    PaymentReversed::NAME,
];

/// An event as an order records it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fact {
    pub event: &'static str,
    pub event_id: EventId,
    /// The time of the event.
    pub at: DateTime<Utc>,
    pub caused_by: Option<EventId>,
    /// Details for display.
    pub detail: Value,
}

/// The order service's state of one order; empty for an order that was never placed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Order {
    facts: Vec<Fact>,
}

/// The outcome of a request to cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancel {
    /// It is published, once.
    Publish,
    /// It was published, or the order is being compensated anyway.
    UnderWay,
    /// The order is final.
    TooLate,
}

impl Order {
    pub fn new(facts: impl IntoIterator<Item = Fact>) -> Self {
        let mut order = Self::default();
        for fact in facts {
            order.remember(fact);
        }
        order
    }

    /// The facts by their time.
    pub fn timeline(&self) -> &[Fact] {
        &self.facts
    }

    pub fn fact(&self, event: &str) -> Option<&Fact> {
        self.facts.iter().find(|fact| fact.event == event)
    }

    pub fn has<E: Event>(&self) -> bool {
        self.fact(E::NAME).is_some()
    }

    /// False for a known event: the first record stays.
    pub fn remember(&mut self, fact: Fact) -> bool {
        let news = self.fact(fact.event).is_none();
        if news {
            self.facts.push(fact);
            self.facts.sort_by_key(Fact::place);
        }
        news
    }

    /// The reaction to every event in this service: record it as a fact.
    pub fn hear<E: Event>(mut self, heard: &Heard<E>, detail: Value) -> Decision<Self> {
        if !self.has::<OrderCreated>() {
            return Decision::impossible(format!("no order {} was placed here", heard.order_id()));
        }
        let Heard { id: event_id, at, caused_by, .. } = *heard;
        let news = self.remember(Fact { event: E::NAME, event_id, at, caused_by, detail });
        if news { Decision::to(self) } else { Decision::nothing() }
    }

    /// The cause of this fact, if order does not consume that event.
    pub fn unheard(&self, fact: &Fact) -> Option<Fact> {
        let event_id = fact.caused_by?;
        if self.facts.iter().any(|known| known.event_id == event_id) {
            return None;
        }
        let answers =
            steps_of(said_by(fact.event)).filter(|step| step.may_say.contains(&fact.event));
        let mut unheard = answers.map(|step| step.hears).filter(|event| !is_heard(event));
        unheard.find_map(|event| {
            let answered = SAGA.iter().filter(|step| step.may_say.contains(&event));
            let cause = answered.filter_map(|step| self.fact(step.hears)).next()?;
            let at = said_at(event_id).unwrap_or(fact.at);
            let (caused_by, detail) = (Some(cause.event_id), json!({}));
            Some(Fact { event, event_id, at, caused_by, detail })
        })
    }

    pub fn status(&self) -> Status {
        Status::of(self)
    }

    pub fn cancel(&self) -> Cancel {
        let undone = self.has::<OrderCancelRequested>()
            || self.has::<InventoryFailed>()
            || self.has::<ShippingFailed>()
            || self.has::<PaymentReversed>();
        match (self.status().is_final(), undone) {
            (true, _) => Cancel::TooLate,
            (false, true) => Cancel::UnderWay,
            (false, false) => Cancel::Publish,
        }
    }

    /// Of the shipment that is on its way, if one is.
    pub fn tracking_code(&self) -> Option<&str> {
        let scheduled = self.fact(ShippingScheduled::NAME)?;
        if self.has::<ShippingFailed>() { None } else { scheduled.detail["tracking_code"].as_str() }
    }

    /// Time of its latest event.
    pub fn updated_at(&self) -> Option<DateTime<Utc>> {
        self.facts.last().map(|fact| fact.at)
    }

    /// From the first of its events to the latest.
    pub fn age(&self) -> Duration {
        let times = self.facts.first().zip(self.facts.last());
        let age = times.map(|(first, last)| last.at - first.at);
        age.and_then(|age| age.to_std().ok()).unwrap_or_default()
    }
}

fn is_heard(event: &str) -> bool {
    OPENINGS.contains(&event) || steps_of(crate::NAME).any(|step| step.hears == event)
}

impl Fact {
    fn place(&self) -> (DateTime<Utc>, usize) {
        let rank = IN_ORDER.iter().position(|event| *event == self.event);
        (self.at, rank.unwrap_or(IN_ORDER.len()))
    }
}

#[cfg(test)]
mod properties;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::on::testing::{cancelled, placed};
    use events::ShippingFailure;
    use reaction::scenario::given;

    #[test]
    fn the_saga_order_names_every_event() {
        let mut named = IN_ORDER;
        let mut all = events::EVENTS.to_vec();
        named.sort_unstable();
        all.sort_unstable();
        assert_eq!(named.as_slice(), all);
    }

    #[test]
    fn the_first_of_two_facts_stays() {
        let mut order = placed();
        let again = Fact { event_id: EventId::max(), ..order.facts[0].clone() };
        assert!(!order.remember(again));
        assert_eq!(order, placed());
    }

    #[test]
    fn a_request_to_cancel_is_said_once_and_only_before_the_end() {
        let order = crate::on::testing::order_id();
        assert_eq!(placed().cancel(), Cancel::Publish);
        assert_eq!(cancelled().cancel(), Cancel::UnderWay);

        let short = InventoryFailed { order_id: order, short: vec![] };
        let (amount, refund_ref) = (events::Money::cents(100), "re_1".into());
        let reversed = PaymentReversed { order_id: order, amount, refund_ref };
        let refused = ShippingFailed { order_id: order, reason: ShippingFailure::CarrierRefused };
        let undone = given(placed()).when(short).state();
        assert_eq!(undone.cancel(), Cancel::UnderWay);
        assert_eq!(given(placed()).when(reversed.clone()).state().cancel(), Cancel::UnderWay);
        assert_eq!(given(placed()).when(refused).state().cancel(), Cancel::UnderWay);

        let ended = given(undone).when(reversed).state();
        assert_eq!(ended.cancel(), Cancel::TooLate);
    }

    #[test]
    fn its_age_is_from_its_first_event_to_its_latest() {
        assert_eq!(Order::default().age(), Duration::ZERO);
        let mut order = placed();
        let at = order.facts[0].at + Duration::from_secs(7);
        let event = OrderCancelRequested::NAME;
        order.remember(Fact { event, at, ..order.facts[0].clone() });
        assert_eq!((order.age(), order.updated_at()), (Duration::from_secs(7), Some(at)));
    }
}
