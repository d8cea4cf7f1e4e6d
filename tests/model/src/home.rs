//! Checks that a run can still end from every state: messages in flight arrive, dead letters are
//! replayed, and the provider answers.

use crate::{
    Saga, State,
    provider::{Move, Word},
    state::Place,
    steps::{Act, Action},
};
use stateright::Model;
use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{PoisonError, RwLock},
};

/// More steps than any order takes that ends.
pub const STEPS_MAX: usize = 200;

/// States from which a way to the end is known.
#[derive(Default)]
pub struct Home {
    known: RwLock<HashSet<u64>>,
}

impl Saga {
    /// Takes the first good step of each state, until all is done. Each state is visited once.
    pub(crate) fn can_end(&self, state: &State) -> bool {
        let mut way = Vec::new();
        let mut here = state.clone();
        loop {
            let place = place(&here);
            if self.home.is_known(place) {
                break;
            }
            way.push(place);
            match self.good_step(&here) {
                Some((_, next)) if way.len() < STEPS_MAX => here = next,
                Some(_) => return false,
                None if self.has_ended(&here) => break,
                None => return false,
            }
        }
        self.home.known.write().unwrap_or_else(PoisonError::into_inner).extend(way);
        true
    }

    pub(crate) fn good_step(&self, state: &State) -> Option<(Action, State)> {
        let mut actions = Vec::new();
        self.actions(state, &mut actions);
        let mut good = actions.into_iter().filter(is_good);
        good.find_map(|action| self.after(state, &action).map(|after| (action, after)))
    }

    /// Nothing is parked, and every order is final.
    fn has_ended(&self, state: &State) -> bool {
        state.orders.iter().all(|about| {
            let open = about.mail.iter().any(|mail| mail.place != Place::Handled);
            !open && self.cast.orders.get(about.order).status().is_final()
        })
    }
}

impl Home {
    fn is_known(&self, place: u64) -> bool {
        self.known.read().unwrap_or_else(PoisonError::into_inner).contains(&place)
    }
}

/// The step leads towards the end, and depends on no fault.
const fn is_good(action: &Action) -> bool {
    match action.act {
        Act::Replay(_) | Act::Desk(Move::TakeUp) => true,
        Act::Deliver(mail) => matches!(mail.place, Place::UnderWay),
        Act::Desk(Move::Answer(word)) => {
            !matches!(word, Word::Away | Word::Refused | Word::Unauthorised | Word::Pending)
        }
        Act::Desk(Move::Decide(..)) => true,
        Act::Desk(Move::Garbled(..) | Move::Unsent | Move::Silence | Move::Crash) => false,
        Act::Desk(Move::Late(..)) => false,
        Act::Park(_) | Act::Cancel(_) => false,
    }
}

fn place(state: &State) -> u64 {
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    hasher.finish()
}
