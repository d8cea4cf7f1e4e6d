//! Keeps the provider's books: the keys that it has charged, declined, voided and refunded. Pure.

use events::{Money, OrderId, PaymentMethod};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub type Key = String;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Charge {
    pub order_id: OrderId,
    pub payment_method: PaymentMethod,
    pub amount: Money,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Refund {
    pub order_id: OrderId,
    /// The charge's key.
    pub charge: Key,
    pub amount: Money,
}

/// One line of the ledger. A promise that is not in it was never made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    Approved { key: Key, charge: Charge, reference: String },
    Declined { key: Key, charge: Charge, reason: String },
    Voided { key: Key },
    Refunded { key: Key, refund: Refund, reference: String },
}

/// The books' answer to a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Word {
    /// It is in the books already.
    Known(Record),
    /// It is new: it must be written to the ledger first.
    New(Record),
    /// The key belongs to another request.
    Conflict,
    Unavailable,
    /// There is nothing to refund, or it is refunded already.
    NoRefund(&'static str),
}

#[derive(Default)]
pub struct Books {
    charges: BTreeMap<Key, Record>,
    refunds: BTreeMap<Key, Record>,
    /// How often each key was asked to be charged since this process began.
    asked: BTreeMap<Key, u32>,
}

impl Books {
    pub fn charge(&mut self, key: &str, charge: Charge) -> Word {
        let asked = self.asked.entry(key.to_owned()).or_default();
        *asked += 1;
        if let Some(known) = self.charges.get(key) {
            return match known {
                Record::Approved { charge: first, .. } | Record::Declined { charge: first, .. }
                    if *first != charge =>
                {
                    Word::Conflict
                }
                known => Word::Known(known.clone()),
            };
        }
        let key = key.to_owned();
        match charge.payment_method {
            PaymentMethod::CardUnavailable => Word::Unavailable,
            PaymentMethod::CardFlaky if *asked <= 2 => Word::Unavailable,
            PaymentMethod::CardDeclined => {
                Word::New(Record::Declined { key, charge, reason: "card declined".into() })
            }
            _ => {
                let reference = format!("CH-{:08}", self.charges.len() + 1);
                Word::New(Record::Approved { key, charge, reference })
            }
        }
    }

    /// None: the key has never been charged or declined, and nothing is promised about it.
    pub fn look_up(&self, key: &str) -> Option<&Record> {
        self.charges.get(key)
    }

    /// Promises never to charge the key from now on, unless it already has been charged.
    pub fn void(&self, key: &str) -> Word {
        match self.charges.get(key) {
            Some(known) => Word::Known(known.clone()),
            None => Word::New(Record::Voided { key: key.to_owned() }),
        }
    }

    pub fn refund(&self, key: &str, refund: Refund) -> Word {
        if let Some(known) = self.refunds.get(key) {
            return match known {
                Record::Refunded { refund: first, .. } if *first != refund => Word::Conflict,
                known => Word::Known(known.clone()),
            };
        }
        let Some(Record::Approved { charge, .. }) = self.charges.get(&refund.charge) else {
            return Word::NoRefund("this was never charged");
        };
        if (charge.amount, charge.order_id) != (refund.amount, refund.order_id) {
            return Word::NoRefund("the charge has another amount, or another order");
        }
        if self.refunds().any(|(_, other)| other.charge == refund.charge) {
            return Word::NoRefund("this was given back under another key");
        }
        let reference = format!("RE-{:08}", self.refunds.len() + 1);
        Word::New(Record::Refunded { key: key.to_owned(), refund, reference })
    }

    /// Loads the records of the ledger.
    pub fn note(&mut self, record: Record) {
        match &record {
            Record::Approved { key, .. }
            | Record::Declined { key, .. }
            | Record::Voided { key } => self.charges.insert(key.clone(), record),
            Record::Refunded { key, .. } => self.refunds.insert(key.clone(), record),
        };
    }

    pub fn asked(&self, key: &str) -> u32 {
        self.asked.get(key).copied().unwrap_or_default()
    }

    pub fn all(&self) -> impl Iterator<Item = &Record> {
        self.charges.values()
    }

    pub fn refunds(&self) -> impl Iterator<Item = (&Key, &Refund)> {
        self.refunds.values().filter_map(|record| match record {
            Record::Refunded { key, refund, .. } => Some((key, refund)),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(payment_method: PaymentMethod, cents: i64) -> Charge {
        Charge { order_id: OrderId::nil(), payment_method, amount: Money::cents(cents) }
    }

    fn give_back(charge: &str, cents: i64) -> Refund {
        let amount = Money::cents(cents);
        Refund { order_id: OrderId::nil(), charge: charge.into(), amount }
    }

    impl Books {
        #[track_caller]
        fn noted(&mut self, word: Word) -> Record {
            let Word::New(record) = word else { panic!("{word:?}") };
            self.note(record.clone());
            record
        }
    }

    #[test]
    fn a_repeated_key_has_the_first_answer_and_another_body_none() {
        for method in [PaymentMethod::Pix, PaymentMethod::CardDeclined] {
            let mut books = Books::default();
            let first = books.charge("a", wish(method, 100));
            let first = books.noted(first);
            assert_eq!(books.charge("a", wish(method, 100)), Word::Known(first));
            assert_eq!(books.charge("a", wish(method, 101)), Word::Conflict);
            assert_eq!((books.all().count(), books.asked("a")), (1, 3));
        }
    }

    #[test]
    fn it_is_unavailable_as_the_method_asks_and_remembers_nothing_of_it() {
        let mut books = Books::default();
        for _ in 0..9 {
            let word = books.charge("a", wish(PaymentMethod::CardUnavailable, 100));
            assert_eq!(word, Word::Unavailable);
        }
        let words: Vec<_> =
            (0..3).map(|_| books.charge("b", wish(PaymentMethod::CardFlaky, 100))).collect();
        assert_eq!(words[..2], [Word::Unavailable, Word::Unavailable]);
        assert!(matches!(words[2], Word::New(Record::Approved { .. })));
        assert_eq!(books.look_up("a"), None);
    }

    #[test]
    fn a_voided_key_is_never_charged_and_a_charged_one_never_voided() {
        let mut books = Books::default();
        let void = books.void("a");
        let void = books.noted(void);
        assert_eq!(books.charge("a", wish(PaymentMethod::Pix, 100)), Word::Known(void));
        let charge = books.charge("b", wish(PaymentMethod::Pix, 100));
        let charge = books.noted(charge);
        assert_eq!(books.void("b"), Word::Known(charge));
    }

    #[test]
    fn a_charge_is_given_back_once_and_whole() {
        let mut books = Books::default();
        assert!(matches!(books.refund("r", give_back("a", 100)), Word::NoRefund(_)));
        let charge = books.charge("a", wish(PaymentMethod::Pix, 100));
        books.noted(charge);
        assert!(matches!(books.refund("r", give_back("a", 99)), Word::NoRefund(_)));
        let refund = books.refund("r", give_back("a", 100));
        let refund = books.noted(refund);
        assert_eq!(books.refund("r", give_back("a", 100)), Word::Known(refund));
        assert_eq!(books.refund("r", give_back("a", 1)), Word::Conflict);
        assert!(matches!(books.refund("other", give_back("a", 100)), Word::NoRefund(_)));
    }
}
