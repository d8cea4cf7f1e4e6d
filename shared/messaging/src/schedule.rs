//! Defines the retry schedule: the delay before each attempt, and when a message is dead.

use std::{str::FromStr, time::Duration};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetrySchedule {
    tiers: Vec<Duration>,
}

impl Default for RetrySchedule {
    fn default() -> Self {
        Self { tiers: [1, 5, 30].map(Duration::from_secs).into() }
    }
}

impl RetrySchedule {
    pub const fn new(tiers: Vec<Duration>) -> Self {
        Self { tiers }
    }

    pub fn tiers(&self) -> &[Duration] {
        &self.tiers
    }

    /// The delay after this many failed attempts; `None` is the end. A compensation never ends: its
    /// last tier repeats.
    pub fn wait(&self, failures: usize, compensates: bool) -> Option<Duration> {
        let tier = self.tiers.get(failures.saturating_sub(1));
        let top = if compensates { self.tiers.last() } else { None };
        tier.or(top).copied()
    }

    /// The name of a tier: `5s`, or `250ms` for fractions of a second.
    pub fn name(tier: Duration) -> String {
        if tier.subsec_millis() == 0 {
            format!("{}s", tier.as_secs())
        } else {
            format!("{}ms", tier.as_millis())
        }
    }
}

/// For example `1s,5s,30s`.
impl FromStr for RetrySchedule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split(',').map(parse_duration).collect::<Result<_, _>>().map(Self::new)
    }
}

/// `250ms`, `5s`, `10m`, `24h`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a duration; examples: 250ms, 5s, 10m, 24h");
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    let seconds = match &text[digits.len()..] {
        "ms" => return Ok(Duration::from_millis(number)),
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        _ => return Err(wrong()),
    };
    Ok(Duration::from_secs(number.checked_mul(seconds).ok_or_else(wrong)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ordinary_message_passes_every_tier_and_then_dies() {
        let schedule = RetrySchedule::default();
        let waits: Vec<_> =
            (1..=4).map(|n| schedule.wait(n, false).map(RetrySchedule::name)).collect();
        assert_eq!(waits, [Some("1s".into()), Some("5s".into()), Some("30s".into()), None]);
    }

    #[test]
    fn a_compensation_repeats_the_last_tier() {
        assert_eq!(RetrySchedule::default().wait(99, true), Some(Duration::from_secs(30)));
        assert_eq!(RetrySchedule::name(Duration::from_millis(1500)), "1500ms");
    }

    #[test]
    fn durations_are_written_with_their_unit() {
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("10m"), Ok(Duration::from_secs(600)));
        assert_eq!(parse_duration("24h"), Ok(Duration::from_hours(24)));
        for wrong in ["", "5", "s", "5 s", "-1s", "1d"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
        assert_eq!("1s,5s,30s".parse(), Ok(RetrySchedule::default()));
        assert!("1s,,30s".parse::<RetrySchedule>().is_err());
    }
}
