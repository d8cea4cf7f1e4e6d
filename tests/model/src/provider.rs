//! Models the payment provider and the charge desk that calls it. The provider may give any answer
//! that does not contradict its own books, give none, decide later, or have its answer replaced on
//! the way.

use crate::{Break, NOW, Switches, breaks};
use events::{EventId, OrderId};
use payment::{Answer, Asked, Call, Charge, Payment, Policy, Status, Verdict, read};
use reaction::{Cause, Decision, Said};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use uuid::Uuid;

/// Two tries, so that there are a first and a last one.
pub const POLICY: Policy = Policy { attempts_max: 2, retry_delay: Duration::ZERO };

/// The current claim on a charge. Each claim is a new one, so that all others are `OTHER`.
const MINE: Uuid = Uuid::from_u128(1);
const OTHER: Uuid = Uuid::from_u128(2);

/// The provider's books for one order, and abandoned requests that may still arrive.
#[derive(Clone, Debug, Default)]
pub struct Provider {
    pub charges: BTreeMap<EventId, Word>,
    pub refunds: BTreeSet<EventId>,
    /// Charges that the provider has accepted, and decides later.
    undecided: BTreeSet<EventId>,
    stray: BTreeSet<Request>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Request {
    Charge(EventId),
    LookUp(EventId),
    Void(EventId),
    /// By its own key.
    Refund(EventId),
}

/// The provider's answers, and the entries of its books.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Word {
    Done,
    Declined,
    Voided,
    NotCharged,
    /// Pending: decided later.
    Pending,
    /// 503, and nothing was done.
    Away,
    /// 400 and similar.
    Refused,
    /// 401 or 403.
    Unauthorised,
}

/// A possible next event for the charge of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Move {
    TakeUp,
    Answer(Word),
    /// The provider does it, but the answer is replaced by another one, of this status.
    Garbled(Word, u16),
    /// No connection can be made.
    Unsent,
    /// A pending charge is decided.
    Decide(EventId, Word),
    /// No answer in time. The request may reach the provider later, or never.
    Silence,
    /// Payment crashes during the charge, or its claim expires.
    Crash,
    /// An abandoned request reaches the provider.
    Late(Request, Word),
}

/// The result of a move: the new state of payment and provider, and the published events.
#[derive(Debug)]
pub struct Moved {
    pub payment: Payment,
    pub provider: Provider,
    pub says: Vec<Said>,
    pub cause: Cause,
}

impl Provider {
    /// The possible answers. The answer to a key never changes.
    fn words(&self, request: Request) -> Vec<Word> {
        let words: &[Word] = match request {
            Request::Charge(key) | Request::LookUp(key) if self.undecided.contains(&key) => {
                &[Word::Pending]
            }
            Request::Void(key) if self.undecided.contains(&key) => &[Word::Voided, Word::Pending],
            Request::Charge(key) => self.said(key).unwrap_or(&[Word::Done, Word::Declined]),
            Request::LookUp(key) => self.said(key).unwrap_or(&[Word::NotCharged]),
            Request::Void(key) => self.said(key).unwrap_or(&[Word::Voided]),
            Request::Refund(_) if self.charges.values().any(|word| *word == Word::Done) => {
                &[Word::Done]
            }
            Request::Refund(_) => &[Word::Refused],
        };
        words.to_vec()
    }

    fn said(&self, key: EventId) -> Option<&[Word]> {
        self.charges.get(&key).map(std::slice::from_ref)
    }

    fn note(&mut self, request: Request, word: Word) {
        match (request, word) {
            (Request::Charge(key), Word::Done | Word::Declined)
            | (Request::Void(key), Word::Voided) => {
                self.undecided.remove(&key);
                self.charges.insert(key, word);
            }
            (Request::Charge(key), Word::Pending) => {
                self.undecided.insert(key);
            }
            (Request::Refund(key), Word::Done) => {
                self.refunds.insert(key);
            }
            _ => {}
        }
    }

    /// The request was sent, and its answer will be lost.
    fn leave(&mut self, request: Request) {
        if !matches!(request, Request::LookUp(_)) {
            self.stray.insert(request);
        }
    }
}

impl Word {
    fn verdict(self, request: Request) -> Verdict {
        let asked = request.asked();
        match self {
            Self::Done if asked == Asked::Refund => {
                heard(asked, 200, r#"{"status":"refunded","reference":"RE"}"#)
            }
            Self::Done => heard(asked, 200, r#"{"status":"approved","reference":"CH"}"#),
            Self::Declined if asked == Asked::Charge => heard(asked, 422, ""),
            Self::Declined => heard(asked, 200, r#"{"status":"declined"}"#),
            Self::Voided if asked == Asked::Charge => heard(asked, 410, r#"{"status":"voided"}"#),
            Self::Voided => heard(asked, 200, r#"{"status":"voided"}"#),
            Self::NotCharged => heard(asked, 404, ""),
            Self::Pending => heard(asked, 202, ""),
            Self::Away => heard(asked, 503, ""),
            Self::Refused => heard(asked, 400, ""),
            Self::Unauthorised => heard(asked, 401, ""),
        }
    }
}

impl Request {
    const fn asked(self) -> Asked {
        match self {
            Self::Charge(_) => Asked::Charge,
            Self::LookUp(_) => Asked::LookUp,
            Self::Void(_) => Asked::Void,
            Self::Refund(_) => Asked::Refund,
        }
    }
}

/// The answer as it arrives by HTTP, read by the shipped rule.
fn heard(asked: Asked, status: u16, body: &str) -> Verdict {
    read(asked, Answer { status, retry_after: None, body: body.as_bytes() })
}

/// Whether a process holds a claim on the charge.
pub fn is_in_hand(payment: &Payment) -> bool {
    payment.charge.as_ref().is_some_and(|charge| charge.claim.is_some())
}

pub fn is_due(payment: &Payment) -> bool {
    payment.charge.as_ref().is_some_and(|charge| charge.due_in.is_some())
}

fn request(charge: &Charge) -> Request {
    match charge.next_call {
        _ if charge.status == Status::Reversing => {
            Request::Refund(charge.refund_key.expect("a refund has its key"))
        }
        Call::Charge => Request::Charge(charge.charge_key),
        Call::LookUp => Request::LookUp(charge.charge_key),
        Call::Void => Request::Void(charge.charge_key),
    }
}

/// Statuses that a proxy may give in place of any answer; a bug, in place of a charge's.
const GARBLED: [u16; 2] = [503, 201];

/// All possible next moves, the best first.
pub fn moves(payment: &Payment, provider: &Provider, switches: Switches) -> Vec<(Move, Moved)> {
    let Some(charge) = &payment.charge else {
        return Vec::new();
    };
    let mut moves = Vec::new();
    if charge.due_in.is_some() {
        moves.push(Move::TakeUp);
    }
    if charge.claim.is_some() {
        let asked = request(charge);
        let mut words = provider.words(asked);
        if switches.faults {
            let is_new =
                |key| !provider.charges.contains_key(key) && !provider.undecided.contains(key);
            words.extend(
                matches!(&asked, Request::Charge(key) if is_new(key)).then_some(Word::Pending),
            );
        }
        moves.extend(words.iter().copied().map(Move::Answer));
        if switches.faults {
            moves.extend([Word::Away, Word::Refused, Word::Unauthorised].map(Move::Answer));
            let garbled = |word: &Word| GARBLED.map(|status| Move::Garbled(*word, status));
            moves.extend(words.iter().flat_map(garbled));
            moves.extend([Move::Unsent, Move::Silence, Move::Crash]);
        }
    }
    for key in &provider.undecided {
        moves.extend([Word::Done, Word::Declined].map(|word| Move::Decide(*key, word)));
    }
    for late in &provider.stray {
        let words = provider.words(*late);
        moves.extend(words.into_iter().map(|word| Move::Late(*late, word)));
    }
    let made = |made: Move| (made, moved(made, charge.clone(), provider.clone(), switches.broken));
    moves.into_iter().map(made).collect()
}

fn moved(made: Move, charge: Charge, mut provider: Provider, broken: Option<Break>) -> Moved {
    let cause = charge.cause.clone();
    let asked = request(&charge);
    let settle = |charge: &Charge, verdict: Verdict| {
        let was = Payment::from(charge.clone());
        breaks::settle(broken, was, verdict, |payment, verdict| {
            payment::settle(payment, charge, verdict, POLICY)
        })
    };
    let decision = match made {
        Move::TakeUp => Decision::to(breaks::taken_up(broken, charge.clone().take_up(MINE)).into()),
        Move::Crash => {
            provider.leave(asked);
            Decision::to(breaks::put_back(broken, charge.clone()).into())
        }
        Move::Silence => {
            provider.leave(asked);
            settle(&charge, Verdict::Unknown { reason: "no answer in time".into() })
        }
        Move::Answer(word) => {
            provider.note(asked, word);
            settle(&charge, word.verdict(asked))
        }
        Move::Garbled(word, status) => {
            provider.note(asked, word);
            settle(&charge, heard(asked.asked(), status, ""))
        }
        Move::Unsent => settle(&charge, Verdict::Unsent { reason: "no connection".into() }),
        Move::Decide(key, word) => {
            provider.note(Request::Charge(key), word);
            Decision::Nothing
        }
        Move::Late(request, word) => {
            provider.stray.remove(&request);
            provider.note(request, word);
            let status = match request {
                Request::Refund(_) => Status::Reversing,
                _ => Status::Processing,
            };
            let asked = Charge { status, claim: Some(OTHER), ..charge.clone() };
            let payment = Payment::from(charge.clone());
            payment::settle(payment, &asked, word.verdict(request), POLICY)
        }
    };
    let (payment, says) = match decision {
        Decision::Change { state, says } => (state, says),
        Decision::Nothing => (charge.into(), Vec::new()),
        Decision::Impossible(reason) => panic!("the desk is never at a loss: {reason}"),
    };
    Moved { payment: essence(payment), provider, says, cause }
}

/// Leaves out fields that only affect delays and logs.
pub fn essence(payment: Payment) -> Payment {
    let essence = |charge: Charge| Charge {
        look_ups: 0,
        refund_attempts: 0,
        last_error: None,
        due_in: charge.due_in.map(|_| Duration::ZERO),
        ..charge
    };
    Payment { charge: payment.charge.map(essence) }
}

/// An event's id, derived from its content.
pub fn event_id(order: OrderId, event: &str, repetition: u8) -> EventId {
    let name = Uuid::new_v5(&order, format!("{event} {repetition}").as_bytes());
    let noise = name.as_bytes().last_chunk().expect("an id has sixteen bytes");
    uuid::Builder::from_unix_timestamp_millis(NOW, noise).into_uuid()
}
