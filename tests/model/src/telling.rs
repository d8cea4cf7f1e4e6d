//! Prints a run as readable text.

use crate::{
    Saga, State,
    home::STEPS_MAX,
    moment::NO_DEAD_END,
    provider::{Move, Request, Word},
    state::{Mail, Place},
    steps::{Act, Action},
};
use events::{CancelReason, said_by};
use stateright::Path;

impl Saga {
    /// The first state, and then each step with the events that it publishes; for a dead end, the
    /// way into it too.
    pub fn tell(&self, promise: &str, path: Path<State, Action>) -> String {
        let mut here = path.last_state().clone();
        let steps = path.into_vec();
        let first = steps.first().map(|(first, _)| self.beginning(first));
        let mut told: Vec<_> = first.into_iter().collect();
        let acted = steps.iter().filter_map(|(before, action)| Some((before, action.as_ref()?)));
        told.extend(acted.flat_map(|(before, action)| self.step(before, action)));
        if promise == NO_DEAD_END {
            told.push("and at best".into());
            for _ in 0..STEPS_MAX {
                let Some((action, next)) = self.good_step(&here) else { break };
                told.extend(self.step(&here, &action));
                here = next;
            }
        }
        told.join(" · ")
    }

    fn step(&self, before: &State, action: &Action) -> Vec<String> {
        let order = match before.orders.len() {
            1 => String::new(),
            _ => format!("order {}: ", action.order + 1),
        };
        let mut told = vec![format!("{order}{}", self.act(&action.act))];
        if let Some(after) = self.after(before, action) {
            told.extend(self.said(before, &after, action.order));
        }
        told
    }

    fn beginning(&self, state: &State) -> String {
        match self.cast.stocks.get(state.stock).products().first_key_value() {
            Some((&demo::OVERSIZED, _)) => "no carrier will take it".into(),
            Some((_, product)) if product.total > 0 => "there is one piece".into(),
            _ => "there is none left".into(),
        }
    }

    fn act(&self, act: &Act) -> String {
        let event = |mail: &Mail| self.cast.messages.get(mail.letter.said).event.clone();
        match act {
            Act::Deliver(mail) => {
                let again = if mail.place == Place::Handled { " again" } else { "" };
                format!("{} hears {}{again}", mail.step().service, event(mail))
            }
            Act::Park(mail) => {
                format!("{} for {} becomes a dead letter", event(mail), mail.step().service)
            }
            Act::Replay(mail) => {
                format!("{} for {} is replayed", event(mail), mail.step().service)
            }
            Act::Desk(made) => made.tell(),
            Act::Cancel(CancelReason::Customer) => "the customer cancels".into(),
            Act::Cancel(CancelReason::Deadline) => "the deadline passes".into(),
        }
    }

    fn said(&self, before: &State, after: &State, order: usize) -> Vec<String> {
        let known = before.orders[order].letters();
        let news = after.orders[order].letters().into_iter().filter(|id| !known.contains(id));
        let say = |event: &str| format!("{} says {event}", said_by(event));
        news.map(|letter| say(&self.cast.messages.get(letter.said).event)).collect()
    }
}

impl Move {
    fn tell(self) -> String {
        match self {
            Self::TakeUp => "the desk takes it up".into(),
            Self::Answer(word) => format!("the provider {}", word.tell()),
            Self::Garbled(word, status) => {
                format!("the provider {}, and the answer is {status}", word.tell())
            }
            Self::Unsent => "the provider cannot be reached".into(),
            Self::Decide(_, word) => format!("the provider decides, and {}", word.tell()),
            Self::Silence => "the provider does not answer in time".into(),
            Self::Crash => "payment crashes with it in hand".into(),
            Self::Late(request, word) => {
                let what = match request {
                    Request::Charge(_) => "charge",
                    Request::LookUp(_) => "look-up",
                    Request::Void(_) => "void",
                    Request::Refund(_) => "refund",
                };
                format!("a late {what} reaches the provider, who {}", word.tell())
            }
        }
    }
}

impl Word {
    const fn tell(self) -> &'static str {
        match self {
            Self::Done => "approves",
            Self::Declined => "declines",
            Self::Voided => "will never charge it",
            Self::NotCharged => "has charged nothing",
            Self::Pending => "decides later",
            Self::Away => "is away",
            Self::Refused => "refuses the request",
            Self::Unauthorised => "does not let payment in",
        }
    }
}
