//! Given, when, then: how the tests of a reaction read. The crate's page has an example.

use crate::{Decision, Heard, On, Said};
use chrono::DateTime;
use events::Event;
use std::fmt::Debug;
use uuid::Uuid;

pub fn given<S>(state: S) -> Given<S> {
    Given { state }
}

pub struct Given<S> {
    state: S,
}

pub struct Then<S> {
    before: S,
    decision: Decision<S>,
}

/// An event as if received from the wire: its id derives from its content, so that tests repeat.
pub fn heard<E: Event>(event: E) -> Heard<E> {
    let said = Said::new(&event);
    let id = Uuid::new_v5(&said.order_id, said.body.as_bytes());
    Heard { event, id, at: DateTime::UNIX_EPOCH, caused_by: None, trace: None }
}

impl<S: Clone> Given<S> {
    pub fn when<E: Event>(self, event: E) -> Then<S>
    where
        S: On<E>,
    {
        Then { before: self.state.clone(), decision: self.state.on(&heard(event)) }
    }
}

impl<S: Clone + Debug + PartialEq> Then<S> {
    #[track_caller]
    pub fn then_nothing(&self) {
        assert_eq!(self.decision, Decision::Nothing);
    }

    #[track_caller]
    pub fn then_impossible(&self) {
        assert!(matches!(self.decision, Decision::Impossible(_)), "{:?}", self.decision);
    }

    /// Exactly these events are published.
    #[track_caller]
    pub fn then_says<E: Event>(self, event: &E) -> Self {
        assert_eq!(self.said(), [Said::new(event)]);
        self
    }

    #[track_caller]
    pub fn then_says_nothing(self) -> Self {
        assert_eq!(self.said(), []);
        self
    }

    /// The state afterwards.
    #[track_caller]
    pub fn state(self) -> S {
        match self.decision {
            Decision::Change { state, .. } => state,
            Decision::Nothing => self.before,
            Decision::Impossible(reason) => panic!("impossible: {reason}"),
        }
    }

    fn said(&self) -> &[Said] {
        match &self.decision {
            Decision::Change { says, .. } => says,
            Decision::Nothing | Decision::Impossible(_) => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::{InventoryReleased, OrderId};

    const RELEASED: InventoryReleased = InventoryReleased { order_id: OrderId::nil() };

    /// How often it may be released.
    #[derive(Clone, Debug, PartialEq)]
    struct Times(u32);

    impl On<InventoryReleased> for Times {
        fn on(self, event: &Heard<InventoryReleased>) -> Decision<Self> {
            match self.0 {
                0 => Decision::nothing(),
                13 => Decision::impossible("nobody does that so often"),
                left => Decision::to(Self(left - 1)).and_say(&event.event),
            }
        }
    }

    #[test]
    fn it_touches_nothing_unless_it_says_so() {
        assert!(Times::touches(&RELEASED).is_empty());
    }

    #[test]
    fn what_is_so_is_found_to_be_so() {
        given(Times(0)).when(RELEASED).then_nothing();
        given(Times(0)).when(RELEASED).then_says_nothing();
        given(Times(13)).when(RELEASED).then_impossible();
        let after = given(Times(2)).when(RELEASED).then_says(&RELEASED).state();
        assert_eq!(after, Times(1));
    }

    #[test]
    #[should_panic(expected = "Change")]
    fn a_change_is_not_nothing() {
        given(Times(1)).when(RELEASED).then_nothing();
    }

    #[test]
    #[should_panic(expected = "Change")]
    fn a_change_is_not_impossible() {
        given(Times(1)).when(RELEASED).then_impossible();
    }

    #[test]
    #[should_panic(expected = "inventory.released")]
    fn what_is_said_is_not_nothing() {
        given(Times(1)).when(RELEASED).then_says_nothing();
    }
}
