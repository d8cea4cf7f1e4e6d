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

/// One copy has 32 calls of 300 ms in flight: Postgres and RabbitMQ wait for the provider.
const SLOW_PROVIDER: &[(&str, &str)] =
    &[("GATEWAY", "http"), ("MOCK_GATEWAY_LATENCY_MS", "300"), ("PAYMENT_IN_FLIGHT_MAX", "32")];

const fn slow_provider(name: &'static str, replicas: usize) -> Setup {
    Setup { name, settings: SLOW_PROVIDER, replicas, trials: &[USUAL] }
}

const RATE_50: Trial = Trial { name: "50/s", sells: Sells::Many, rate: Some(50) };
const RATE_300: Trial = Trial { name: "300/s", sells: Sells::Many, rate: Some(300) };

pub static SETUPS: [Setup; 7] = [
    Setup {
        name: "as it is",
        settings: &[],
        replicas: 1,
        trials: &[
            USUAL,
            Trial { name: "one product", sells: Sells::One, rate: None },
            Trial { name: "flash sale", sells: Sells::FlashSale, rate: None },
            RATE_50,
            Trial { name: "100/s", sells: Sells::Many, rate: Some(100) },
            RATE_300,
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
    Setup { name: "two of each", settings: &[], replicas: 2, trials: &[USUAL, RATE_50, RATE_300] },
    slow_provider("slow provider", 1),
    slow_provider("slow provider, two of each", 2),
    slow_provider("slow provider, four of each", 4),
];

pub const PAIRS: [Pair; 8] = [
    Pair { what: "batches, to one message at a time", one: "as it is", other: "no batches" },
    Pair { what: "quorum queues, to classic ones", one: "as it is", other: "classic queues" },
    Pair { what: "one product, to many", one: "as it is, one product", other: "as it is" },
    Pair { what: "two of each service, to one", one: "two of each", other: "as it is" },
    Pair { what: "the same at 50/s", one: "two of each, 50/s", other: "as it is, 50/s" },
    Pair { what: "the same at 300/s", one: "two of each, 300/s", other: "as it is, 300/s" },
    Pair {
        what: "two, before a slow provider",
        one: "slow provider, two of each",
        other: "slow provider",
    },
    Pair {
        what: "four, before a slow provider",
        one: "slow provider, four of each",
        other: "slow provider",
    },
];

/// The setups whose names begin with one of these, which commas separate.
pub fn named(beginnings: &str) -> Result<Vec<&'static Setup>, String> {
    let beginnings: Vec<_> = beginnings.split(',').map(str::trim).collect();
    let is = |one: &Setup, beginning: &str| one.name.starts_with(beginning);
    if let Some(unknown) = beginnings.iter().find(|it| !SETUPS.iter().any(|one| is(one, it))) {
        let all = SETUPS.iter().map(|one| one.name).collect::<Vec<_>>().join("; ");
        return Err(format!("{unknown:?} is none of what is measured: {all}"));
    }
    Ok(SETUPS.iter().filter(|one| beginnings.iter().any(|it| is(one, it))).collect())
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
        let two: Vec<_> = named("two, as it is").unwrap().iter().map(|one| one.name).collect();
        assert_eq!(two, ["as it is", "two of each"]);
        let error = named("two,streams").err().unwrap();
        assert!(error.contains("\"streams\" is none"), "{error}");
        assert!(error.contains("as it is; no batches; classic queues"), "{error}");
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
