//! What is measured: systems that differ in one thing, and the loads that each of them is given.

use crate::load::Goods;

/// More than are in flight, so that neighbours rarely want the same.
const PRODUCTS: u32 = 1000;
/// A flash sale has a piece for one order of so many.
const WANTED_FOR_EACH: u64 = 10;

/// A system that is started for it.
pub struct Setup {
    pub name: &'static str,
    /// What its services are told, apart from the usual.
    pub settings: &'static [(&'static str, &'static str)],
    pub replicas: usize,
    pub trials: &'static [Trial],
}

/// A load on it.
pub struct Trial {
    pub name: &'static str,
    pub sells: Sells,
    /// A second; as fast as it goes, where none is given.
    pub rate: Option<u32>,
}

pub enum Sells {
    Many,
    One,
    FlashSale,
}

/// What the one is of the other.
pub struct Pair {
    pub what: &'static str,
    pub one: &'static str,
    pub other: &'static str,
}

const USUAL: Trial = Trial { name: "", sells: Sells::Many, rate: None };

pub static SETUPS: [Setup; 4] = [
    Setup {
        name: "as it is",
        settings: &[],
        replicas: 1,
        trials: &[
            USUAL,
            Trial { name: "one product", sells: Sells::One, rate: None },
            Trial { name: "flash sale", sells: Sells::FlashSale, rate: None },
            Trial { name: "50/s", sells: Sells::Many, rate: Some(50) },
            Trial { name: "1000/s", sells: Sells::Many, rate: Some(1000) },
        ],
    },
    Setup { name: "no batches", settings: &[("BATCH_MAX", "1")], replicas: 1, trials: &[USUAL] },
    Setup {
        name: "classic queues",
        settings: &[("QUEUE_TYPE", "classic")],
        replicas: 1,
        trials: &[USUAL],
    },
    Setup { name: "two of each", settings: &[], replicas: 2, trials: &[USUAL] },
];

pub const PAIRS: [Pair; 4] = [
    Pair { what: "batches, to one message at a time", one: "as it is", other: "no batches" },
    Pair { what: "quorum queues, to classic ones", one: "as it is", other: "classic queues" },
    Pair { what: "one product, to many", one: "as it is, one product", other: "as it is" },
    Pair { what: "two of each service, to one", one: "two of each", other: "as it is" },
];

/// Those whose names begin like this.
pub fn named(beginning: &str) -> Result<Vec<&'static Setup>, String> {
    let found: Vec<_> = SETUPS.iter().filter(|one| one.name.starts_with(beginning)).collect();
    if found.is_empty() {
        let all = SETUPS.iter().map(|one| one.name).collect::<Vec<_>>().join(", ");
        return Err(format!("{beginning:?} is none of what is measured: {all}"));
    }
    Ok(found)
}

/// What a trial is called, whatever it is on.
pub fn title(setup: &Setup, trial: &Trial) -> String {
    let comma = if trial.name.is_empty() { "" } else { ", " };
    format!("{}{comma}{}", setup.name, trial.name)
}

impl Sells {
    pub fn goods(&self, orders: usize) -> Goods {
        match self {
            Self::Many => Goods::Spread(PRODUCTS),
            Self::One => Goods::Usual,
            Self::FlashSale => {
                let orders = u64::try_from(orders).unwrap_or(u64::MAX);
                Goods::flash((orders / WANTED_FOR_EACH).max(1))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_setup_is_known_by_how_its_name_begins() {
        assert_eq!(named("classic").unwrap()[0].name, "classic queues");
        assert_eq!(named("").unwrap().len(), SETUPS.len());
        assert!(named("streams").err().unwrap().contains("as it is, no batches, classic queues"));
    }

    #[test]
    fn every_pair_is_of_two_that_are_measured() {
        let titles: Vec<_> = SETUPS
            .iter()
            .flat_map(|setup| setup.trials.iter().map(move |trial| title(setup, trial)))
            .collect();
        let distinct: HashSet<_> = titles.iter().collect();
        assert_eq!(distinct.len(), titles.len());
        for Pair { one, other, .. } in PAIRS {
            assert!([one, other].iter().all(|name| titles.iter().any(|title| title == name)));
            assert_ne!(one, other);
        }
    }
}
