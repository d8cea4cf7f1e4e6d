//! Defines payment's settings.

use crate::{breaker::Limits, gateway::Credentials, policy::Policy};
use anyhow::Context;
use clap::Args;
use service::parse_duration;
use std::{path::PathBuf, time::Duration};

#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// The provider, e.g. http://127.0.0.1:3002; or `simulated`: an in-process one that takes no
    /// money. Required
    #[arg(long, env = "PAYMENT_GATEWAY_URL", value_name = "PAYMENT_GATEWAY_URL")]
    pub gateway_url: Option<String>,
    /// A file that holds the provider's bearer token; read again for each call
    #[arg(long, env = "PAYMENT_GATEWAY_TOKEN_FILE", value_name = "PAYMENT_GATEWAY_TOKEN_FILE")]
    pub gateway_token_file: Option<PathBuf>,
    /// A file that holds `<key id>:<key>`, by which each call is signed (HMAC-SHA256); read again
    /// for each call
    #[arg(long, env = "PAYMENT_GATEWAY_HMAC_KEY_FILE")]
    #[arg(value_name = "PAYMENT_GATEWAY_HMAC_KEY_FILE")]
    pub gateway_hmac_key_file: Option<PathBuf>,
    /// A file of certificates (PEM) to verify an https provider by, instead of the machine's
    #[arg(long, env = "PAYMENT_GATEWAY_CA_FILE", value_name = "PAYMENT_GATEWAY_CA_FILE")]
    pub gateway_ca_file: Option<PathBuf>,
    /// Timeout of a call to the provider; a shutdown waits 7 s for calls and the writing of answers
    #[arg(long, env = "PAYMENT_GATEWAY_TIMEOUT", default_value = "6s")]
    #[arg(value_name = "PAYMENT_GATEWAY_TIMEOUT", value_parser = parse_duration)]
    pub gateway_timeout: Duration,
    /// Age at which another copy takes over a claimed charge; at once, where the copy is dead
    #[arg(long, env = "PAYMENT_REAP_AFTER", default_value = "60s")]
    #[arg(value_name = "PAYMENT_REAP_AFTER", value_parser = parse_duration)]
    pub reap_after: Duration,
    /// Maximum of attempts before a payment fails, including the first
    #[arg(long, env = "PAYMENT_ATTEMPTS_MAX", default_value = "5")]
    #[arg(value_name = "PAYMENT_ATTEMPTS_MAX", value_parser = clap::value_parser!(u32).range(1..=20))]
    pub attempts_max: u32,
    /// Backoff before the third attempt, doubled for each further one (the second is immediate)
    #[arg(long, env = "PAYMENT_RETRY_DELAY", default_value = "2s")]
    #[arg(value_name = "PAYMENT_RETRY_DELAY", value_parser = parse_duration)]
    pub retry_delay: Duration,
    /// Maximum of concurrent calls to the provider
    #[arg(long, env = "PAYMENT_IN_FLIGHT_MAX", default_value = "256")]
    #[arg(value_name = "PAYMENT_IN_FLIGHT_MAX", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub in_flight_max: u32,
    /// Attempts of a refund after which each further one logs a warning; refunds are retried for
    /// ever
    #[arg(long, env = "PAYMENT_REFUND_WARN_AFTER", default_value = "5")]
    #[arg(value_name = "PAYMENT_REFUND_WARN_AFTER")]
    pub refund_warn_after: u32,
    /// Circuit breaker: minimum of calls in the window before it may open
    #[arg(long, env = "PAYMENT_BREAKER_CALLS_MIN", default_value = "20")]
    #[arg(value_name = "PAYMENT_BREAKER_CALLS_MIN", value_parser = clap::value_parser!(u16).range(1..))]
    pub breaker_calls_min: u16,
    /// Circuit breaker: percentage of failures at which it opens; 101: never
    #[arg(long, env = "PAYMENT_BREAKER_FAILURES_MAX", default_value = "50")]
    #[arg(value_name = "PAYMENT_BREAKER_FAILURES_MAX", value_parser = clap::value_parser!(u8).range(1..=101))]
    pub breaker_failures_max: u8,
    /// Circuit breaker: the window of calls that count
    #[arg(long, env = "PAYMENT_BREAKER_WINDOW", default_value = "10s")]
    #[arg(value_name = "PAYMENT_BREAKER_WINDOW", value_parser = parse_duration)]
    pub breaker_window: Duration,
    /// Circuit breaker: pause before it probes the provider
    #[arg(long, env = "PAYMENT_BREAKER_PAUSE", default_value = "5s")]
    #[arg(value_name = "PAYMENT_BREAKER_PAUSE", value_parser = parse_duration)]
    pub breaker_pause: Duration,
}

impl Settings {
    pub const SIMULATED: &str = "simulated";

    /// An address, or `SIMULATED`. Never by default: a deployment that forgets its provider would
    /// confirm orders without taking money.
    pub fn provider(&self) -> anyhow::Result<&str> {
        self.gateway_url.as_deref().filter(|url| !url.is_empty()).context(
            "PAYMENT_GATEWAY_URL is not set: it names the payment provider, for example \
             PAYMENT_GATEWAY_URL=http://127.0.0.1:3002; for a simulated provider that takes no \
             money, set PAYMENT_GATEWAY_URL=simulated",
        )
    }

    pub fn credentials(&self) -> anyhow::Result<Credentials> {
        let files = [&self.gateway_token_file, &self.gateway_hmac_key_file];
        let [token, hmac_key] = files.map(Option::as_deref);
        Credentials::of(token, hmac_key)
    }

    pub fn check(&self) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.gateway_timeout < self.reap_after,
            "PAYMENT_GATEWAY_TIMEOUT must be shorter than PAYMENT_REAP_AFTER: \
             otherwise the reaper takes over charges that are still being processed"
        );
        Ok(())
    }

    pub const fn policy(&self) -> Policy {
        Policy { attempts_max: self.attempts_max, retry_delay: self.retry_delay }
    }

    pub fn limits(&self) -> Limits {
        Limits {
            calls_min: self.breaker_calls_min.into(),
            failures_max: self.breaker_failures_max.into(),
            window: self.breaker_window,
            pause: self.breaker_pause,
            in_flight_max: self.in_flight_max as usize,
        }
    }
}

/// The defaults, with a provider.
#[cfg(test)]
pub fn usual() -> Settings {
    use clap::FromArgMatches as _;
    let command = Settings::augment_args(clap::Command::new("usual"));
    let matches = command.get_matches_from(["usual", "--gateway-url", Settings::SIMULATED]);
    Settings::from_arg_matches(&matches).expect("defaults are possible values")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_is_in_hand_when_the_service_stops_is_answered_and_written_before_it_ends() {
        let for_the_answer = Duration::from_secs(1);
        assert!(usual().gateway_timeout + for_the_answer <= service::DRAIN_MAX);
    }

    #[test]
    fn without_a_word_about_the_provider_there_is_no_service() {
        for unsaid in [None, Some(String::new())] {
            let service = crate::service(&Settings { gateway_url: unsaid, ..usual() }).unwrap();
            let error = service.refusal().unwrap();
            assert!(error.to_string().contains("PAYMENT_GATEWAY_URL=simulated"), "{error}");
        }
        assert!(crate::service(&usual()).unwrap().refusal().is_none());
    }
}
