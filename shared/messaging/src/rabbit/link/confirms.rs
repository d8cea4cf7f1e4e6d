//! Matches the broker's confirms with the publications of each burst. Pure.

use crate::{BrokerError, Confirm};
use std::{
    collections::{HashSet, VecDeque},
    slice,
};
use tokio::sync::oneshot;

pub type Answer<T> = oneshot::Sender<Result<T, BrokerError>>;

/// The bursts of a channel whose confirms are awaited.
#[derive(Default)]
pub struct Confirms {
    /// The number of publications so far: the broker counts them too, and confirms by number.
    published: u64,
    bursts: VecDeque<Burst>,
}

struct Burst {
    /// The number of its first publication.
    first: u64,
    ids: Vec<Option<String>>,
    /// For each publication, once it is confirmed, whether the broker refused it.
    refused: Vec<Option<bool>>,
    unconfirmed: usize,
    /// The ids of messages that came back.
    returned: HashSet<Option<String>>,
    answer: Answer<Vec<Confirm>>,
}

impl Confirms {
    /// The next publications on the channel are these.
    pub fn expect(&mut self, ids: Vec<Option<String>>, answer: Answer<Vec<Confirm>>) {
        let first = self.published + 1;
        self.published += ids.len() as u64;
        self.bursts.push_back(Burst {
            first,
            refused: vec![None; ids.len()],
            unconfirmed: ids.len(),
            ids,
            returned: HashSet::new(),
            answer,
        });
        self.finish();
    }

    /// A message came back, before its confirm. Another burst with the same id publishes it again,
    /// which is harmless; to take it for stored would not be. So if the id is unknown, all have
    /// come back.
    pub fn returned(&mut self, id: Option<&str>) {
        let id = id.map(str::to_owned);
        let is_known = self.bursts.iter().any(|burst| burst.ids.contains(&id));
        for burst in &mut self.bursts {
            let came_back = if is_known { slice::from_ref(&id) } else { &burst.ids };
            burst.returned.extend(came_back.iter().cloned());
        }
    }

    /// The broker has stored or refused the publication of this number, or all up to it.
    pub fn settle(&mut self, number: u64, multiple: bool, is_refused: bool) {
        let (from, to) = match (multiple, number) {
            (false, _) => (number, number),
            // All of them so far.
            (true, 0) => (1, self.published),
            (true, _) => (1, number.min(self.published)),
        };
        for burst in &mut self.bursts {
            burst.settle(from, to, is_refused);
        }
        self.finish();
    }

    pub fn fail(self, why: &BrokerError) {
        for burst in self.bursts {
            // The caller may have given up at its deadline.
            let _ = burst.answer.send(Err(why.clone()));
        }
    }

    /// Answers complete bursts.
    fn finish(&mut self) {
        while let Some(place) = self.bursts.iter().position(|burst| burst.unconfirmed == 0) {
            if let Some(burst) = self.bursts.remove(place) {
                burst.finish();
            }
        }
    }
}

impl Burst {
    fn settle(&mut self, from: u64, to: u64, is_refused: bool) {
        let (from, to) =
            (from.saturating_sub(self.first), to.saturating_add(1).saturating_sub(self.first));
        let places = (from as usize)..(to as usize).min(self.refused.len());
        for refused in self.refused.get_mut(places).into_iter().flatten() {
            if refused.is_none() {
                *refused = Some(is_refused);
                self.unconfirmed -= 1;
            }
        }
    }

    fn finish(self) {
        let outcome = |(id, refused): (Option<String>, Option<bool>)| {
            if self.returned.contains(&id) {
                Confirm::Unroutable
            } else if refused == Some(true) {
                Confirm::Refused
            } else {
                Confirm::Stored
            }
        };
        let confirms = self.ids.into_iter().zip(self.refused).map(outcome).collect();
        let _ = self.answer.send(Ok(confirms));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Confirm::{Refused, Stored, Unroutable};

    type Confirmed = oneshot::Receiver<Result<Vec<Confirm>, BrokerError>>;

    fn burst(confirms: &mut Confirms, ids: &[&str]) -> Confirmed {
        let (answer, confirmed) = oneshot::channel();
        confirms.expect(ids.iter().map(|id| Some((*id).into())).collect(), answer);
        confirmed
    }

    #[test]
    fn overlapping_bursts_have_their_own_confirms() {
        let mut confirms = Confirms::default();
        let mut first = burst(&mut confirms, &["a", "b", "c"]);
        let mut second = burst(&mut confirms, &["d", "e", "f"]);
        confirms.settle(2, false, true);
        confirms.returned(Some("e"));
        confirms.settle(5, false, false);
        assert!(first.try_recv().is_err(), "1 and 3 are open");
        confirms.settle(4, true, false);
        assert_eq!(first.try_recv().unwrap().unwrap(), [Stored, Refused, Stored]);
        assert!(second.try_recv().is_err(), "6 is open");
        confirms.settle(6, true, true);
        assert_eq!(second.try_recv().unwrap().unwrap(), [Stored, Unroutable, Refused]);
    }

    #[test]
    fn if_it_is_unknown_which_message_came_back_none_is_taken_for_stored() {
        let mut confirms = Confirms::default();
        let mut only = burst(&mut confirms, &["a", "b"]);
        confirms.returned(None);
        confirms.settle(2, true, false);
        assert_eq!(only.try_recv().unwrap().unwrap(), [Unroutable, Unroutable]);
    }

    #[test]
    fn a_later_burst_may_end_first_and_an_end_fails_the_rest() {
        let mut confirms = Confirms::default();
        let mut first = burst(&mut confirms, &["a", "b"]);
        let mut second = burst(&mut confirms, &["c"]);
        confirms.settle(3, false, false);
        assert_eq!(second.try_recv().unwrap().unwrap(), [Stored]);
        // Neither the same again nor what was never published matters.
        confirms.settle(3, false, true);
        confirms.settle(9, false, true);
        confirms.settle(1, false, false);
        assert!(first.try_recv().is_err());
        confirms.fail(&BrokerError::Ended("reset".into()));
        assert!(matches!(first.try_recv().unwrap(), Err(BrokerError::Ended(_))));
    }

    #[test]
    fn zero_confirms_all() {
        let mut confirms = Confirms::default();
        let mut first = burst(&mut confirms, &["a"]);
        let mut second = burst(&mut confirms, &["b", "b"]);
        confirms.returned(Some("b"));
        confirms.settle(0, true, false);
        assert_eq!(first.try_recv().unwrap().unwrap(), [Stored]);
        assert_eq!(second.try_recv().unwrap().unwrap(), [Unroutable, Unroutable]);
    }
}
