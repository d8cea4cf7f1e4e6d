//! A latency histogram of constant size; histograms of several runs can be added.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

/// An hour.
const LONGEST_US: u64 = 3_600_000_000;
/// Four digits of each value count: so there are few different values, however many are added.
const DIGITS: u32 = 4;
/// The percentiles that are plotted.
const PERCENTILES: [f64; 14] =
    [0.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 98.0, 99.0, 99.5, 99.8, 99.9, 99.99, 100.0];

/// How often each number of microseconds was seen.
#[derive(Clone, Debug, Default)]
pub struct Latency(BTreeMap<u64, usize>);

/// In milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spread {
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
}

/// This percentage of values is no larger.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Point {
    pub percentile: f64,
    pub ms: f64,
}

impl Latency {
    pub fn add(&mut self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(LONGEST_US).min(LONGEST_US);
        let unit = 10_u64.pow((micros.checked_ilog10().unwrap_or(0) + 1).saturating_sub(DIGITS));
        *self.0.entry(micros / unit * unit).or_default() += 1;
    }

    pub fn merge(&mut self, other: &Self) {
        for (micros, count) in &other.0 {
            *self.0.entry(*micros).or_default() += count;
        }
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    pub fn at(&self, percentile: f64) -> f64 {
        let all: usize = self.0.values().sum();
        let mut rank = (all as f64 * percentile / 100.0).ceil().max(1.0) as usize;
        let found = self.0.iter().find(|(_, count)| {
            let is_here = rank <= **count;
            rank = rank.saturating_sub(**count);
            is_here
        });
        found.map_or(0.0, |(micros, _)| *micros as f64 / 1000.0)
    }

    pub fn spread(&self) -> Spread {
        let [p50, p95, p99, p999, max] = [50.0, 95.0, 99.0, 99.9, 100.0].map(|at| self.at(at));
        Spread { p50, p95, p99, p999, max }
    }

    pub fn curve(&self) -> Vec<Point> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let point = |percentile| Point { percentile, ms: self.at(percentile) };
        PERCENTILES.into_iter().map(point).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(all: impl IntoIterator<Item = u64>) -> Latency {
        let mut latency = Latency::default();
        all.into_iter().for_each(|ms| latency.add(Duration::from_millis(ms)));
        latency
    }

    /// Values keep three significant digits.
    fn is_about(found: f64, wanted: f64) -> bool {
        (found - wanted).abs() <= wanted / 1000.0
    }

    #[test]
    fn percentiles_are_samples() {
        let spread = of((1..=200).rev()).spread();
        let found = [spread.p50, spread.p95, spread.p99, spread.p999, spread.max];
        for (found, wanted) in found.into_iter().zip([100.0, 190.0, 198.0, 200.0, 200.0]) {
            assert!(is_about(found, wanted), "{found} is not {wanted}");
        }
        assert!(is_about(of([7]).spread().p50, 7.0));
        assert_eq!(of([]).spread(), Spread::default());
        assert!(of([]).curve().is_empty());
    }

    #[test]
    fn histograms_add_up_to_that_of_all() {
        let mut both = of(1..=100);
        both.merge(&of(901..=1000));
        assert_eq!(both.spread(), of((1..=100).chain(901..=1000)).spread());
        assert!(is_about(both.at(50.0), 100.0) && is_about(both.at(75.0), 950.0));
        both.clear();
        assert_eq!(both.spread(), Spread::default());
    }

    #[test]
    fn what_takes_for_ever_counts_as_the_longest() {
        let mut latency = Latency::default();
        latency.add(Duration::MAX);
        latency.add(Duration::ZERO);
        assert!(is_about(latency.spread().max, 3_600_000.0));
    }
}
