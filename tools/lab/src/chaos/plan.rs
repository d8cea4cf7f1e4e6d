//! Plans faults from a seed: an endless list of steps. The same seed gives the same list, whatever
//! the system does.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use messaging::parse_duration;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::fault::{Fault, Faults, Target};

/// The time from the start of one fault to the start of the next, `5s..40s`; longer where the first
/// has not ended by then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Every {
    pub least: Duration,
    pub most: Duration,
}

impl FromStr for Every {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (least, most) = text.split_once("..").unwrap_or((text, text));
        let (least, most) = (parse_duration(least)?, parse_duration(most)?);
        if least > most {
            return Err(format!("{text:?} ends before it begins; an example is 5s..40s"));
        }
        Ok(Self { least, most })
    }
}

impl fmt::Display for Every {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?}..{:?}", self.least, self.most)
    }
}

/// One fault of the plan.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Step {
    pub number: usize,
    pub fault: Fault,
    pub target: Target,
    /// After the last one began.
    #[serde(skip)]
    pub gap: Duration,
    #[serde(skip)]
    pub lasts: Duration,
    /// A seed for the random details of the fault.
    #[serde(skip)]
    pub seed: u64,
}

/// Deals the faults like cards, so that each has occurred before one is repeated, and each of their
/// targets likewise.
pub struct Plan {
    chance: StdRng,
    faults: Vec<Fault>,
    every: Every,
    deck: VecDeque<Fault>,
    targets: Vec<(Fault, Vec<Target>)>,
    dealt: usize,
}

impl Plan {
    pub fn new(seed: u64, faults: &Faults, every: Every) -> Self {
        let (chance, faults) = (StdRng::seed_from_u64(seed), faults.0.clone());
        Self { chance, faults, every, deck: VecDeque::new(), targets: Vec::new(), dealt: 0 }
    }

    /// A digest of its first hundred steps: equal for equal plans.
    pub fn digest(seed: u64, faults: &Faults, every: Every) -> String {
        let steps: Vec<_> = Self::new(seed, faults, every).take(100).collect();
        let digest = Sha256::digest(format!("{steps:?}"));
        digest[..6].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn target(&mut self, fault: Fault) -> Target {
        let place = self.targets.iter().position(|(of, _)| *of == fault);
        let place = place.unwrap_or_else(|| {
            self.targets.push((fault, Vec::new()));
            self.targets.len() - 1
        });
        let left = &mut self.targets[place].1;
        if left.is_empty() {
            *left = fault.targets();
            left.shuffle(&mut self.chance);
        }
        left.pop().expect("every fault has somebody to meet")
    }
}

impl Iterator for Plan {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        if self.deck.is_empty() {
            let mut deck = self.faults.clone();
            deck.shuffle(&mut self.chance);
            self.deck = deck.into();
        }
        let fault = self.deck.pop_front()?;
        let target = self.target(fault);
        let gap = self.chance.random_range(self.every.least..=self.every.most);
        let lasts = Duration::from_millis(self.chance.random_range(fault.lasts_ms()));
        self.dealt += 1;
        let (number, seed) = (self.dealt, self.chance.random());
        Some(Step { number, fault, target, gap, lasts, seed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Every = Every { least: Duration::from_secs(5), most: Duration::from_secs(40) };

    fn plan(seed: u64, faults: &Faults) -> Vec<Step> {
        Plan::new(seed, faults, EVERY).take(3 * Fault::ALL.len()).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_plan_and_another_another() {
        let all = Faults::default();
        assert_eq!(plan(7, &all), plan(7, &all));
        assert_ne!(plan(7, &all), plan(8, &all));
        let digest = |seed| Plan::digest(seed, &all, EVERY);
        assert_eq!(digest(7), digest(7));
        assert_ne!(digest(7), digest(8));
    }

    #[test]
    fn every_fault_comes_before_one_comes_again_and_the_gaps_are_kept() {
        let steps = plan(3, &Faults(Fault::ALL.into()));
        for deck in steps.chunks(Fault::ALL.len()) {
            let mut faults: Vec<_> = deck.iter().map(|step| step.fault).collect();
            faults.sort_unstable();
            assert_eq!(faults, Fault::ALL);
        }
        assert!(steps.iter().all(|step| (EVERY.least..=EVERY.most).contains(&step.gap)));
    }

    #[test]
    fn every_database_and_every_replica_is_met() {
        let faults: Faults = "postgres-kill,service-kill".parse().unwrap();
        let steps = plan(1, &faults);
        let met = |target| steps.iter().any(|step| step.target == target);
        assert!((0..4).all(|place| met(Target::Postgres(place))));
        assert!((0..8).all(|place| met(Target::Replica(place))));
    }

    #[test]
    fn a_gap_is_a_range_or_always_the_same() {
        assert_eq!("5s..40s".parse(), Ok(EVERY));
        let (least, most) = (Duration::from_millis(250), Duration::from_millis(250));
        assert_eq!("250ms".parse(), Ok(Every { least, most }));
        assert!("40s..5s".parse::<Every>().unwrap_err().contains("5s..40s"));
        assert!("often".parse::<Every>().unwrap_err().contains("250ms, 5s, 10m"));
    }
}
