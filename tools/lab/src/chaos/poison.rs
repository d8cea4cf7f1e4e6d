//! Records the poison messages that were put into queues. Each must become a dead letter, once for
//! each time that it was put there, with its bytes unchanged.

use std::collections::BTreeMap;

use audit::{DeadLetter, Digest};
use messaging::dead_letters;
use sha2::{Digest as _, Sha256};

/// The dead-letter queue in which the message must be, and the digest of its body.
type Place = (String, Digest);

#[derive(Clone, Debug, Default)]
pub struct Poison(BTreeMap<Place, Vec<String>>);

impl Poison {
    /// `what` describes the message where it is missing.
    pub fn add(&mut self, queue: &str, body: &[u8], what: impl Into<String>) {
        self.0.entry((dead_letters(queue), digest(body))).or_default().push(what.into());
    }

    pub fn number(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }

    /// The expected number in each dead-letter queue.
    pub fn by_queue(&self) -> BTreeMap<&str, usize> {
        let mut numbers = BTreeMap::new();
        for ((queue, _), all) in &self.0 {
            *numbers.entry(queue.as_str()).or_default() += all.len();
        }
        numbers
    }

    /// The differences between these dead letters and the poison messages.
    pub fn unaccounted(&self, letters: &[DeadLetter]) -> Vec<String> {
        let mut missing = self.0.clone();
        let mut wrong = Vec::new();
        for letter in letters {
            let place = letter.digest.map(|digest| (letter.queue.clone(), digest));
            let left = place.as_ref().and_then(|place| missing.get_mut(place));
            let is_known = left.is_some();
            if left.and_then(Vec::pop).is_none() {
                let id = letter.message_id.as_deref().unwrap_or("a message without an id");
                let why = letter.reason.as_deref().unwrap_or("no reason");
                let what = if is_known { "a second time" } else { "and nobody poisoned it" };
                wrong.push(format!("{} holds {id}, {what}: {why}", letter.queue));
            }
        }
        for ((queue, _), all) in missing {
            let told = all.iter().map(|what| format!("{queue} does not hold {what}"));
            wrong.extend(told.map(|told| format!("{told}, which was poisoned")));
        }
        wrong
    }
}

/// The digest that the idempotency tables keep.
pub fn digest(body: &[u8]) -> Digest {
    let digest = Sha256::digest(body);
    *digest.first_chunk().expect("it is longer")
}
