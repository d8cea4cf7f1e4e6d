//! The state of the whole system: what each service knows, and where each message is.

use crate::{pool::Id, provider::Provider, stock::Stock};
use events::{OrderId, SAGA, Step};
use messaging::Outgoing;
use order::Order;
use payment::Payment;
use shipping::Dispatch;
use uuid::Uuid;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub stock: Id<Stock>,
    pub orders: Vec<About>,
    /// A message may still become a dead letter.
    pub may_park: bool,
}

/// The state of one order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct About {
    pub order: Id<Order>,
    pub payment: Id<Payment>,
    pub shipping: Id<Dispatch>,
    pub provider: Id<Provider>,
    /// One for each message and subscriber, sorted.
    pub mail: Vec<Mail>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mail {
    pub letter: Letter,
    /// The subscriber: its index in `SAGA`.
    pub step: u8,
    pub place: Place,
}

/// A message. An event that is published again for the same order is another message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Letter {
    pub said: Id<Outgoing>,
    pub repetition: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// In the outbox or in the queue: it may be delivered at any moment.
    UnderWay,
    /// It may still be delivered again, at any moment and any number of times.
    Handled,
    /// A dead letter, until it is replayed.
    Parked,
    /// A dead letter, since no legal history leads there.
    Impossible,
}

impl State {
    /// Every message was delivered in a state that a legal history leads to.
    pub fn is_possible(&self) -> bool {
        self.orders.iter().all(|about| about.mail_at(Place::Impossible).next().is_none())
    }
}

impl Mail {
    pub fn step(&self) -> &'static Step {
        &SAGA[usize::from(self.step)]
    }
}

impl About {
    pub fn mail_at(&self, place: Place) -> impl Iterator<Item = &Mail> {
        self.mail.iter().filter(move |mail| mail.place == place)
    }

    /// All messages, each once.
    pub fn letters(&self) -> Vec<Letter> {
        let mut letters: Vec<_> = self.mail.iter().map(|mail| mail.letter).collect();
        letters.dedup();
        letters
    }

    /// It goes to all subscribers.
    pub fn say(&mut self, said: Id<Outgoing>, event: &str) {
        let step = |place: usize| u8::try_from(place).expect("SAGA is short");
        let first = SAGA.iter().position(|step| step.hears == event).map(step);
        let before = self.mail.iter().filter(|mail| Some(mail.step) == first).count();
        let repetition = u8::try_from(before).expect("nobody says it that often");
        let letter = Letter { said, repetition };
        let hearers = SAGA.iter().enumerate().filter(|(_, step)| step.hears == event);
        self.mail.extend(hearers.map(|(place, _)| Mail {
            letter,
            step: step(place),
            place: Place::UnderWay,
        }));
        self.mail.sort_unstable();
    }
}

pub const fn order_id(number: usize) -> OrderId {
    Uuid::from_u128(0x0a + number as u128)
}
