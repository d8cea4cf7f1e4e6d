//! Distributes the scenarios by their weights.

use std::str::FromStr;

use clap::ValueEnum;
use kit::scenario::Scenario;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mix {
    /// Each scenario with the end of its range.
    shares: Vec<(Scenario, usize)>,
    total: usize,
    /// Steps of this size visit every place of the total once, and consecutive ones are far apart.
    stride: usize,
}

impl Mix {
    fn new(weights: &[(Scenario, usize)]) -> Option<Self> {
        let mut total = 0;
        let mut shares = Vec::new();
        for (scenario, weight) in weights {
            total += weight;
            shares.push((*scenario, total));
        }
        let golden = total * 618 / 1000;
        let stride = (golden.max(1)..=total.max(1)).find(|step| are_coprime(*step, total))?;
        (total > 0).then_some(Self { shares, total, stride })
    }

    /// Exactly as often as weighed, in every run whose length is the sum of the weights.
    pub fn nth(&self, number: usize) -> Scenario {
        let place = number % self.total * self.stride % self.total;
        let share = self.shares.partition_point(|(_, end)| *end <= place);
        self.shares[share].0
    }
}

impl Default for Mix {
    fn default() -> Self {
        Self { shares: vec![(Scenario::Confirmed, 1)], total: 1, stride: 1 }
    }
}

impl FromStr for Mix {
    type Err = String;

    /// `confirmed=80,declined=20`
    fn from_str(text: &str) -> Result<Self, String> {
        let known = || Scenario::all().iter().map(|s| s.name()).collect::<Vec<_>>().join(", ");
        let parts = text.split(',').map(|part| {
            let (name, weight) = part.split_once('=').unwrap_or((part, "1"));
            let scenario = Scenario::from_str(name.trim(), false)
                .map_err(|_| format!("{name:?} is no scenario; there are {}", known()))?;
            let weight: u16 = weight
                .trim()
                .parse()
                .map_err(|_| format!("{weight:?} is no weight, 0 to 65535"))?;
            Ok((scenario, usize::from(weight)))
        });
        let weights = parts.collect::<Result<Vec<_>, String>>()?;
        Self::new(&weights).ok_or_else(|| "all weights are 0".into())
    }
}

fn are_coprime(mut one: usize, mut other: usize) -> bool {
    while other > 0 {
        (one, other) = (other, one % other);
    }
    one == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_comes_as_often_as_it_weighs() {
        let mix: Mix = "confirmed=7,declined=2, sold-out".parse().unwrap();
        let drawn: Vec<_> = (0..20).map(|number| mix.nth(number)).collect();
        let of = |scenario| drawn.iter().filter(|drawn| **drawn == scenario).count();
        assert_eq!(of(Scenario::Confirmed), 14);
        assert_eq!(of(Scenario::Declined), 4);
        assert_eq!(of(Scenario::SoldOut), 2);
        assert_ne!(drawn[..7], [Scenario::Confirmed; 7], "they are mixed");
    }

    #[test]
    fn a_mix_that_is_none_is_refused_with_what_would_be_one() {
        assert!("everything".parse::<Mix>().unwrap_err().contains("there are confirmed, declined"));
        assert!("confirmed=many".parse::<Mix>().is_err());
        assert!("confirmed=0".parse::<Mix>().is_err());
    }

    #[test]
    fn a_single_scenario_is_a_mix() {
        assert_eq!("slow".parse::<Mix>().unwrap().nth(12_345), Scenario::Slow);
        assert_eq!(Mix::default().nth(3), Scenario::Confirmed);
    }
}
