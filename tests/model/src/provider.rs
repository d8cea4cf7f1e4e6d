//! The payment provider, who may say anything that is not against his own books, may keep it to
//! himself, may decide later, and may have his answer replaced on its way; and the charge desk that
//! asks him.

use crate::{Break, NOW, Switches, breaks};
use events::{EventId, OrderId};
use payment::{Answer, Asked, Call, Charge, Payment, Policy, Status, Verdict, read};
use saga::{Cause, Decision, Said};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use uuid::Uuid;

/// Two tries, so that there are a second and a last one.
pub const POLICY: Policy = Policy { attempts_max: 2, retry_delay: Duration::ZERO };

/// Whoever has a charge in hand now. It is a new claim each time, so that all others are `OTHER`.
const MINE: Uuid = Uuid::from_u128(1);
const OTHER: Uuid = Uuid::from_u128(2);

/// The provider's books for one order, and what is on its way to him that nobody waits for.
#[derive(Clone, Debug, Default)]
pub struct Provider {
    pub charges: BTreeMap<EventId, Word>,
    pub refunds: BTreeSet<EventId>,
    /// Charges that he has taken in, and decides later.
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

/// What the provider says, and what stands in his books.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Word {
    Done,
    Declined,
    Voided,
    NotCharged,
    /// He decides later.
    Pending,
    /// 503, and nothing was done.
    Away,
    /// 401 and the like.
    Refused,
}

/// What may happen to the charge of an order next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Move {
    TakeUp,
    Answer(Word),
    /// He does it, and what is heard is another answer, of this status.
    Garbled(Word, u16),
    /// No connection can be made.
    Unsent,
    /// What was pending is decided.
    Decide(EventId, Word),
    /// No answer in time. The request may reach the provider later, or never.
    Silence,
    /// Payment crashes with the charge in hand, or is taken for dead.
    Crash,
    /// A request that nobody waits for any more reaches the provider.
    Late(Request, Word),
}

/// What a move makes of both, and what is said.
#[derive(Debug)]
pub struct Moved {
    pub payment: Payment,
    pub provider: Provider,
    pub says: Vec<Said>,
    pub cause: Cause,
}

impl Provider {
    /// What he may answer. What he has said once of a key, he says for ever.
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

    /// It was sent, and nobody waits for the answer.
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
            Self::Refused => heard(asked, 401, ""),
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

/// As it comes by HTTP, read by the shipped rule.
fn heard(asked: Asked, status: u16, body: &str) -> Verdict {
    read(asked, Answer { status, retry_after: None, body: body.as_bytes() })
}

/// Has anybody the charge in hand?
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

/// What a proxy may make of any answer; a bug, of a charge.
const GARBLED: [u16; 2] = [503, 201];

/// All that may happen next, the best first.
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
            moves.extend([Move::Answer(Word::Away), Move::Answer(Word::Refused)]);
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

/// Without what only tells how long to wait and what to log.
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

/// The id of an event, which comes from what it is.
pub fn event_id(order: OrderId, event: &str, repetition: u8) -> EventId {
    let name = Uuid::new_v5(&order, format!("{event} {repetition}").as_bytes());
    let noise = name.as_bytes().last_chunk().expect("an id has sixteen bytes");
    uuid::Builder::from_unix_timestamp_millis(NOW, noise).into_uuid()
}
