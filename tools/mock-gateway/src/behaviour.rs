//! How the provider behaves, which can be changed while it runs.

use anyhow::{Result, ensure};
use clap::Args;
use serde::{Deserialize, Serialize};

#[derive(Args, Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Behaviour {
    /// How long it thinks before it charges, in milliseconds
    #[arg(long, env = "MOCK_GATEWAY_LATENCY_MS", default_value_t = 0)]
    #[arg(value_name = "MOCK_GATEWAY_LATENCY_MS")]
    pub latency_ms: u64,
    /// How long it keeps its answer back after it has charged, in milliseconds
    #[arg(long, env = "MOCK_GATEWAY_ANSWER_LATENCY_MS", default_value_t = 0)]
    #[arg(value_name = "MOCK_GATEWAY_ANSWER_LATENCY_MS")]
    pub answer_latency_ms: u64,
    /// The share of calls that it answers 503: 0.25 is every fourth
    #[arg(long, env = "MOCK_GATEWAY_FAILURE_RATE", default_value_t = 0.0)]
    #[arg(value_name = "MOCK_GATEWAY_FAILURE_RATE")]
    pub failure_rate: f64,
    /// Answers everything with 503
    #[arg(long, env = "MOCK_GATEWAY_DOWN", value_name = "MOCK_GATEWAY_DOWN")]
    pub down: bool,
    /// Breaks the connection in the middle of each answer
    #[arg(long, env = "MOCK_GATEWAY_HANG_UP", value_name = "MOCK_GATEWAY_HANG_UP")]
    pub hang_up: bool,
}

/// What is not named stays as it is.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    latency_ms: Option<u64>,
    answer_latency_ms: Option<u64>,
    failure_rate: Option<f64>,
    down: Option<bool>,
    hang_up: Option<bool>,
}

impl Behaviour {
    pub fn with(self, change: &Change) -> Result<Self> {
        let changed = Self {
            latency_ms: change.latency_ms.unwrap_or(self.latency_ms),
            answer_latency_ms: change.answer_latency_ms.unwrap_or(self.answer_latency_ms),
            failure_rate: change.failure_rate.unwrap_or(self.failure_rate),
            down: change.down.unwrap_or(self.down),
            hang_up: change.hang_up.unwrap_or(self.hang_up),
        };
        changed.check()?;
        Ok(changed)
    }

    pub fn check(&self) -> Result<()> {
        let rate = self.failure_rate;
        ensure!((0.0..=1.0).contains(&rate), "failure_rate is {rate}: it takes 0 to 1");
        Ok(())
    }

    /// Spread evenly over the calls, the first of which is number 0: no dice, so that a run can be
    /// repeated.
    pub fn fails(&self, call: u32) -> bool {
        let due = |calls: u32| (f64::from(calls) * self.failure_rate).floor();
        self.down || due(call + 1) > due(call)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(change: &str) -> Result<Behaviour> {
        let slow = Behaviour { latency_ms: 5, ..Behaviour::default() };
        slow.with(&serde_json::from_str(change)?)
    }

    #[test]
    fn what_is_not_named_stays_as_it_is() {
        let down = Behaviour { latency_ms: 5, down: true, ..Behaviour::default() };
        assert_eq!(changed(r#"{"down": true}"#).unwrap(), down);
        for wrong in [r#"{"dawn": true}"#, r#"{"failure_rate": 1.5}"#, r#"{"latency_ms": -1}"#] {
            assert!(changed(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn so_many_calls_fail_as_it_was_told() {
        for (rate, failures) in [(0.0, 0), (0.25, 250), (0.5, 500), (1.0, 1000)] {
            let behaviour = Behaviour { failure_rate: rate, ..Behaviour::default() };
            assert_eq!((0..1000).filter(|call| behaviour.fails(*call)).count(), failures);
        }
    }
}
