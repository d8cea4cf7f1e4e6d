//! Counts orders per second, over a whole load and for the last second.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::latency::Latency;

const SHOWN_EVERY: Duration = Duration::from_secs(1);

/// The count of each second.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Series(pub Vec<usize>);

impl Series {
    pub fn per_s(&self) -> Vec<f64> {
        self.0.iter().map(|number| *number as f64).collect()
    }

    pub fn add(&mut self, at: Duration) {
        let second = usize::try_from(at.as_secs()).unwrap_or(0);
        if self.0.len() <= second {
            self.0.resize(second + 1, 0);
        }
        self.0[second] += 1;
    }
}

/// The last second's numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Now {
    pub per_s: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
}

pub struct Pulse {
    since: Instant,
    number: usize,
    latency: Latency,
    now: Now,
}

impl Pulse {
    pub fn new(since: Instant) -> Self {
        Self { since, number: 0, latency: Latency::default(), now: Now::default() }
    }

    pub fn add(&mut self, took: Duration) {
        self.number += 1;
        self.latency.add(took);
    }

    /// Of the last complete second.
    pub fn at(&mut self, moment: Instant) -> Now {
        let passed = moment.saturating_duration_since(self.since);
        if passed >= SHOWN_EVERY {
            let (p50_ms, p99_ms) = (self.latency.at(50.0), self.latency.at(99.0));
            self.now = Now { per_s: rate(self.number, passed), p50_ms, p99_ms };
            (self.since, self.number) = (moment, 0);
            self.latency.clear();
        }
        self.now
    }
}

pub fn rate(number: usize, took: Duration) -> f64 {
    if took.is_zero() { 0.0 } else { number as f64 / took.as_secs_f64() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_counts_in_its_second() {
        let mut series = Series::default();
        [0, 999, 1000, 3500].into_iter().for_each(|at| series.add(Duration::from_millis(at)));
        assert_eq!(series.0, [2, 1, 0, 1]);
    }

    #[test]
    fn the_pulse_is_that_of_the_last_whole_second() {
        let start = Instant::now();
        let mut pulse = Pulse::new(start);
        (0..10).for_each(|_| pulse.add(Duration::from_millis(8)));
        assert_eq!(pulse.at(start + Duration::from_millis(900)), Now::default());
        let now = pulse.at(start + Duration::from_secs(2));
        assert_eq!((now.per_s, now.p50_ms.round(), now.p99_ms.round()), (5.0, 8.0, 8.0));
        assert_eq!(pulse.at(start + Duration::from_millis(2500)), now, "until the next is over");
        assert_eq!(pulse.at(start + Duration::from_secs(4)), Now::default());
    }
}
