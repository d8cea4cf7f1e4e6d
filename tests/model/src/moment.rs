//! Checks the invariants of one state, by the one list of them: `audit`.

use crate::{
    Saga, State,
    pool::{Id, Memo},
    provider::{Provider, Word, is_due, is_in_hand},
    snapshot::snapshot,
    state::{About, Letter, Place},
    stock::Stock,
};
use audit::{Quiet, Violation, check};
use order::Status;
use payment::Payment;
use stateright::Property;
use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

/// The data that the invariants of every state check.
type Moment = (Id<Stock>, Vec<(Id<Payment>, Id<Provider>, Vec<Letter>)>);

#[derive(Default)]
pub struct Moments {
    seen: Memo<Moment, bool>,
    /// Invariants that are known to be broken: the first run that breaks one is the shortest.
    broken: Mutex<BTreeSet<&'static str>>,
}

pub const ALWAYS: &str = "what must hold at every moment holds";
pub const IN_THE_END: &str = "when it is quiet, everything holds";
pub const NO_DEAD_END: &str = "every run can still end";
pub const NOTHING_IMPOSSIBLE: &str = "no message is impossible";
/// The invariants that no run may break.
pub const PROMISES: [&str; 4] = [ALWAYS, IN_THE_END, NO_DEAD_END, NOTHING_IMPOSSIBLE];

impl Saga {
    pub(crate) fn promises(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(ALWAYS, |model, state| model.keeps(ALWAYS, || model.is_sound(state))),
            Property::always(IN_THE_END, |model, state| {
                model.keeps(IN_THE_END, || !model.is_quiet(state) || model.is_well(state))
            }),
            Property::always(NO_DEAD_END, |model, state| {
                model.keeps(NO_DEAD_END, || model.can_end(state))
            }),
            Property::always(NOTHING_IMPOSSIBLE, |model, state: &State| {
                model.keeps(NOTHING_IMPOSSIBLE, || state.is_possible())
            }),
            Property::sometimes("it ends CONFIRMED", |model, state| {
                model.ends(state, Status::Confirmed, true)
            }),
            Property::sometimes("it ends PAYMENT_FAILED", |model, state| {
                model.ends(state, Status::PaymentFailed, false)
            }),
            Property::sometimes("it ends CANCELLED and was never charged", |model, state| {
                model.ends(state, Status::Cancelled, false)
            }),
            Property::sometimes("it ends CANCELLED and has its money back", |model, state| {
                model.ends(state, Status::Cancelled, true)
            }),
        ]
    }

    fn keeps(&self, promise: &'static str, holds: impl FnOnce() -> bool) -> bool {
        if holds() {
            return true;
        }
        let mut broken = self.moments.broken.lock().unwrap_or_else(PoisonError::into_inner);
        !broken.insert(promise)
    }

    fn is_sound(&self, state: &State) -> bool {
        let abouts = state.orders.iter();
        let moment = abouts.map(|about| (about.payment, about.provider, about.letters()));
        *self
            .moments
            .seen
            .get((state.stock, moment.collect()), |_| self.violations(state, Quiet::No).is_empty())
    }

    /// Nothing is in flight, due, or claimed: nothing happens any more without a request from
    /// outside.
    pub(crate) fn is_quiet(&self, state: &State) -> bool {
        let is_under_way = |about: &About| about.mail_at(Place::UnderWay).next().is_some();
        let is_idle = |about: &About| {
            let payment = self.cast.payments.get(about.payment);
            !is_due(&payment) && !is_in_hand(&payment)
        };
        !state.orders.iter().any(is_under_way) && state.orders.iter().all(is_idle)
    }

    fn is_well(&self, state: &State) -> bool {
        self.violations(state, Quiet::Yes).is_empty()
    }

    /// The broken invariants of this state.
    pub fn violations(&self, state: &State, quiet: Quiet) -> Vec<Violation> {
        check(&snapshot(&self.cast, state), quiet)
    }

    /// Whether an order may end like this, charged or not.
    fn ends(&self, state: &State, status: Status, charged: bool) -> bool {
        let is_it = |about: &About| {
            let provider = self.cast.providers.get(about.provider);
            let is_charged = provider.charges.values().any(|word| *word == Word::Done);
            self.cast.orders.get(about.order).status() == status && is_charged == charged
        };
        self.is_quiet(state) && state.orders.iter().any(is_it)
    }
}
