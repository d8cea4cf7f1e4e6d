//! Lists the possible next steps of a state, and computes the state after each.

use crate::{
    Switches,
    cast::{Cast, Published, Reaction},
    home::Home,
    moment::Moments,
    pool::Id,
    provider::Move,
    state::{About, Mail, Place, State},
    stock::Stock,
};
use events::{CancelReason, ProductId};
use stateright::{Model, Property};
use uuid::Uuid;

pub struct Saga {
    pub switches: Switches,
    pub(crate) cast: Cast,
    pub(crate) moments: Moments,
    pub(crate) home: Home,
}

/// A step of one of the orders, by its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    pub order: usize,
    pub act: Act,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Delivers a message for the first time, or again.
    Deliver(Mail),
    Park(Mail),
    Replay(Mail),
    Desk(Move),
    Cancel(CancelReason),
}

/// The one piece that is there, or is not.
const QUILL: ProductId = Uuid::from_u128(1);

impl Saga {
    pub fn new(switches: Switches) -> Self {
        let cast = Cast::new(switches);
        Self { switches, cast, moments: Moments::default(), home: Home::default() }
    }

    /// All possible steps, the best first.
    fn acts(&self, about: &About, number: usize, may_park: bool, acts: &mut Vec<Act>) {
        acts.extend(about.mail_at(Place::UnderWay).map(|mail| Act::Deliver(*mail)));
        acts.extend(about.mail_at(Place::Parked).map(|mail| Act::Replay(*mail)));
        let moves = self.cast.moves(about.payment, about.provider);
        acts.extend(moves.iter().map(|(made, _)| Act::Desk(*made)));
        let cancels = self.cast.cancels(about.order, number);
        let reasons = cancels.iter().map(|(reason, ..)| *reason);
        let reasons =
            reasons.filter(|why| self.switches.deadline || *why == CancelReason::Customer);
        acts.extend(reasons.map(Act::Cancel));
        acts.extend(about.mail_at(Place::Handled).map(|mail| Act::Deliver(*mail)));
        if may_park {
            let may_die = about.mail_at(Place::UnderWay).filter(|mail| !mail.step().compensates);
            acts.extend(may_die.map(|mail| Act::Park(*mail)));
        }
    }

    /// The state after the step; none, where the step changes nothing.
    pub(crate) fn after(&self, last: &State, action: &Action) -> Option<State> {
        let mut next = last.clone();
        let about = &mut next.orders[action.order];
        match &action.act {
            // The inbox has it already.
            Act::Deliver(mail) if mail.place == Place::Handled && self.switches.tables => {}
            Act::Deliver(mail) => self.deliver(&mut next.stock, about, *mail),
            Act::Park(mail) => {
                about.put(*mail, Place::Parked);
                next.may_park = false;
            }
            Act::Replay(mail) => about.put(*mail, Place::UnderWay),
            Act::Desk(made) => {
                let moves = self.cast.moves(about.payment, about.provider);
                let (_, (payment, provider, says)) =
                    moves.iter().find(|(known, _)| known == made)?;
                (about.payment, about.provider) = (*payment, *provider);
                about.say_all(says);
            }
            Act::Cancel(why) => {
                let cancels = self.cast.cancels(about.order, action.order);
                let (_, order, says) = cancels.iter().find(|(reason, ..)| reason == why)?;
                about.order = *order;
                about.say_all(&[*says]);
            }
        }
        (next != *last).then_some(next)
    }

    fn deliver(&self, stock: &mut Id<Stock>, about: &mut About, mail: Mail) {
        let (letter, cast) = (mail.letter, &self.cast);
        match mail.step().service {
            order::NAME => {
                let reaction = cast.order_hears(about.order, letter);
                about.order = about.take(mail, &reaction).unwrap_or(about.order);
            }
            payment::NAME => {
                let reaction = cast.payment_hears(about.payment, letter);
                about.payment = about.take(mail, &reaction).unwrap_or(about.payment);
            }
            inventory::NAME => {
                let reaction = cast.inventory_hears(*stock, letter);
                *stock = about.take(mail, &reaction).unwrap_or(*stock);
            }
            shipping::NAME => {
                let reaction = cast.shipping_hears(about.shipping, letter);
                about.shipping = about.take(mail, &reaction).unwrap_or(about.shipping);
            }
            nobody => panic!("{nobody} is not modelled"),
        }
    }
}

impl About {
    fn put(&mut self, mail: Mail, place: Place) {
        let found = self.mail.iter_mut().find(|known| **known == mail);
        found.expect("it is there").place = place;
    }

    fn say_all(&mut self, says: &[Published]) {
        for (said, event) in says {
            self.say(*said, event);
        }
    }

    /// The service's new state, where it differs from the old one.
    fn take<S>(&mut self, mail: Mail, reaction: &Reaction<S>) -> Option<Id<S>> {
        match reaction {
            Reaction::Impossible => self.put(mail, Place::Impossible),
            Reaction::Nothing | Reaction::Change { .. } => self.put(mail, Place::Handled),
        }
        let Reaction::Change { state, says } = reaction else {
            return None;
        };
        self.say_all(says);
        Some(*state)
    }
}

impl Model for Saga {
    type State = State;
    type Action = Action;

    /// Enough stock; no stock; stock, but no carrier.
    fn init_states(&self) -> Vec<State> {
        let stocks = [(QUILL, 1), (QUILL, 0), (demo::OVERSIZED, 1)];
        stocks
            .map(|(product, total)| self.cast.placed(product, total, self.switches.dead_letters))
            .into()
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let mut acts = Vec::new();
        for (order, about) in state.orders.iter().enumerate() {
            self.acts(about, order, state.may_park, &mut acts);
            actions.extend(acts.drain(..).map(|act| Action { order, act }));
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        self.after(last, &action)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        self.promises()
    }
}
