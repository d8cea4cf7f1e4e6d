//! Defines what is measured: systems that differ in one thing, and the loads on each of them.

use crate::load::Goods;

/// More than are in flight, so that concurrent orders rarely want the same product.
const PRODUCTS: u32 = 1000;
/// A flash sale has one piece for this many orders.
const WANTED_FOR_EACH: u64 = 10;

/// A system to measure.
pub struct Setup {
    pub name: &'static str,
    /// Environment variables of its services, besides the usual ones.
    pub settings: &'static [(&'static str, &'static str)],
    pub replicas: usize,
    pub trials: &'static [Trial],
}

/// A load on it.
pub struct Trial {
    pub name: &'static str,
    pub sells: Sells,
    /// Orders a second; as many as possible, where none is given.
    pub rate: Option<u32>,
}

pub enum Sells {
    Many,
    One,
    FlashSale,
}

/// Two trials whose ratio is reported.
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
            Trial { name: "100/s", sells: Sells::Many, rate: Some(100) },
            Trial { name: "300/s", sells: Sells::Many, rate: Some(300) },
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

/// The setups whose names begin with these words.
pub fn named(beginning: &str) -> Result<Vec<&'static Setup>, String> {
    let found: Vec<_> = SETUPS.iter().filter(|one| one.name.starts_with(beginning)).collect();
    if found.is_empty() {
        let all = SETUPS.iter().map(|one| one.name).collect::<Vec<_>>().join(", ");
        return Err(format!("{beginning:?} is none of what is measured: {all}"));
    }
    Ok(found)
}

/// The name of a trial, with that of its setup.
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
