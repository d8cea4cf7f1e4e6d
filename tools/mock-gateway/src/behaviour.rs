//! Holds the provider's behaviour, which can be changed while it runs.

use anyhow::{Result, ensure};
use clap::Args;
use mock_gateway::lies::Lie;
use serde::{Deserialize, Serialize};

#[derive(Args, Clone, Debug, Default, PartialEq, Serialize)]
pub struct Behaviour {
    /// Latency before the charge, in milliseconds
    #[arg(long, env = "MOCK_GATEWAY_LATENCY_MS", default_value_t = 0)]
    #[arg(value_name = "MOCK_GATEWAY_LATENCY_MS")]
    pub latency_ms: u64,
    /// Latency after the charge, in milliseconds
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
    /// Answers a refund that it has not made with 422
    #[arg(long, env = "MOCK_GATEWAY_REFUSE_REFUNDS")]
    #[arg(value_name = "MOCK_GATEWAY_REFUSE_REFUNDS")]
    pub refuse_refunds: bool,
    /// Breaks the connection in the middle of each answer
    #[arg(long, env = "MOCK_GATEWAY_HANG_UP", value_name = "MOCK_GATEWAY_HANG_UP")]
    pub hang_up: bool,
    /// Does what it is asked, and answers one of these instead
    #[arg(long, env = "MOCK_GATEWAY_LIES", value_name = "MOCK_GATEWAY_LIES")]
    #[arg(value_enum, value_delimiter = ',')]
    pub lies: Vec<Lie>,
    /// The share of calls that it lies to
    #[arg(long, env = "MOCK_GATEWAY_SHARE", default_value_t = 1.0)]
    #[arg(value_name = "MOCK_GATEWAY_SHARE")]
    pub share: f64,
    /// Decides, with the number of the call, which calls it lies to and how
    #[arg(long, env = "MOCK_GATEWAY_SEED", default_value_t = 1)]
    #[arg(value_name = "MOCK_GATEWAY_SEED")]
    pub seed: u64,
    /// How long it takes to decide a charge that is `pending`, in milliseconds
    #[arg(long, env = "MOCK_GATEWAY_PENDING_MS", default_value_t = 3000)]
    #[arg(value_name = "MOCK_GATEWAY_PENDING_MS")]
    pub pending_ms: u64,
    /// The bearer tokens that it accepts
    #[arg(long, env = "MOCK_GATEWAY_TOKENS", hide_env_values = true, value_delimiter = ',')]
    #[arg(value_name = "MOCK_GATEWAY_TOKENS")]
    pub tokens: Vec<String>,
    /// The keys by which it accepts signatures, each as `<key id>:<key>`
    #[arg(long, env = "MOCK_GATEWAY_HMAC_KEYS", hide_env_values = true, value_delimiter = ',')]
    #[arg(value_name = "MOCK_GATEWAY_HMAC_KEYS")]
    pub hmac_keys: Vec<String>,
    /// Approves another amount than it was asked for, by so many cents, and says so
    #[arg(long, env = "MOCK_GATEWAY_AMOUNT_OFF", default_value_t = 0)]
    #[arg(value_name = "MOCK_GATEWAY_AMOUNT_OFF")]
    pub amount_off: i64,
}

/// Fields that are not given stay as they are.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    latency_ms: Option<u64>,
    answer_latency_ms: Option<u64>,
    failure_rate: Option<f64>,
    down: Option<bool>,
    refuse_refunds: Option<bool>,
    hang_up: Option<bool>,
    lies: Option<Vec<Lie>>,
    share: Option<f64>,
    seed: Option<u64>,
    pending_ms: Option<u64>,
    tokens: Option<Vec<String>>,
    hmac_keys: Option<Vec<String>>,
    amount_off: Option<i64>,
}

impl Behaviour {
    pub fn with(&self, change: Change) -> Result<Self> {
        let changed = Self {
            latency_ms: change.latency_ms.unwrap_or(self.latency_ms),
            answer_latency_ms: change.answer_latency_ms.unwrap_or(self.answer_latency_ms),
            failure_rate: change.failure_rate.unwrap_or(self.failure_rate),
            down: change.down.unwrap_or(self.down),
            refuse_refunds: change.refuse_refunds.unwrap_or(self.refuse_refunds),
            hang_up: change.hang_up.unwrap_or(self.hang_up),
            lies: change.lies.unwrap_or_else(|| self.lies.clone()),
            share: change.share.unwrap_or(self.share),
            seed: change.seed.unwrap_or(self.seed),
            pending_ms: change.pending_ms.unwrap_or(self.pending_ms),
            tokens: change.tokens.unwrap_or_else(|| self.tokens.clone()),
            hmac_keys: change.hmac_keys.unwrap_or_else(|| self.hmac_keys.clone()),
            amount_off: change.amount_off.unwrap_or(self.amount_off),
        };
        changed.check()?;
        Ok(changed)
    }

    pub fn check(&self) -> Result<()> {
        for (name, rate) in [("failure_rate", self.failure_rate), ("share", self.share)] {
            ensure!((0.0..=1.0).contains(&rate), "{name} is {rate}: it takes 0 to 1");
        }
        Ok(())
    }

    /// Spread evenly over the calls, the first of which is number 0: not random, so that a run can
    /// be repeated.
    pub fn fails(&self, call: u32) -> bool {
        let due = |calls: u32| (f64::from(calls) * self.failure_rate).floor();
        self.down || due(call + 1) > due(call)
    }

    /// The wrong answer to this call, if any: the same for the same seed.
    pub fn lie(&self, call: u32) -> Option<Lie> {
        let dice = scattered(self.seed.wrapping_add(call.into()));
        let is_lied_to = (dice >> 32) as f64 / f64::from(u32::MAX) < self.share;
        let which = (dice & 0xffff_ffff) as usize % self.lies.len().max(1);
        self.lies.get(which).filter(|_| is_lied_to || self.share >= 1.0).copied()
    }
}

/// SplitMix64.
const fn scattered(seed: u64) -> u64 {
    let mut bits = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(change: &str) -> Result<Behaviour> {
        let slow = Behaviour { latency_ms: 5, ..Behaviour::default() };
        slow.with(serde_json::from_str(change)?)
    }

    #[test]
    fn what_is_not_named_stays_as_it_is() {
        let down = Behaviour { latency_ms: 5, down: true, ..Behaviour::default() };
        assert_eq!(changed(r#"{"down": true}"#).unwrap(), down);
        for wrong in [
            r#"{"dawn": true}"#,
            r#"{"failure_rate": 1.5}"#,
            r#"{"latency_ms": -1}"#,
            r#"{"lies": ["white"]}"#,
            r#"{"share": -0.1}"#,
        ] {
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

    #[test]
    fn a_seed_lies_to_the_same_calls_in_the_same_ways() {
        let liar = |share: f64, seed: u64| {
            let told = format!(
                r#"{{"lies": ["created", "proxy_503", "pending"], "share": {share}, "seed": {seed}}}"#
            );
            let behaviour = changed(&told).unwrap();
            (0..3000).map(|call| behaviour.lie(call)).collect::<Vec<_>>()
        };
        let lies = liar(0.3, 7);
        assert_eq!(lies, liar(0.3, 7));
        assert_ne!(lies, liar(0.3, 8));
        for lie in [Lie::Created, Lie::Proxy503, Lie::Pending] {
            let told = lies.iter().filter(|told| **told == Some(lie)).count();
            assert!((200..400).contains(&told), "{lie:?} {told} times");
        }
        assert!(liar(1.0, 7).iter().all(Option::is_some));
        assert!(liar(0.0, 7).iter().all(Option::is_none));
    }
}
