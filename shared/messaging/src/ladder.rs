//! How long a failed message waits before its next attempt, and when it is dead.

use std::{str::FromStr, time::Duration};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ladder {
    rungs: Vec<Duration>,
}

impl Default for Ladder {
    fn default() -> Self {
        Self { rungs: [1, 5, 30].map(Duration::from_secs).into() }
    }
}

impl Ladder {
    pub const fn new(rungs: Vec<Duration>) -> Self {
        Self { rungs }
    }

    pub fn rungs(&self) -> &[Duration] {
        &self.rungs
    }

    /// The wait after this many failed attempts; `None` is the end. What compensates never ends:
    /// its top rung repeats.
    pub fn wait(&self, failures: usize, compensates: bool) -> Option<Duration> {
        let rung = self.rungs.get(failures.saturating_sub(1));
        let top = if compensates { self.rungs.last() } else { None };
        rung.or(top).copied()
    }

    /// The name of a rung: `5s`, or `250ms` where it is no whole second.
    pub fn name(rung: Duration) -> String {
        if rung.subsec_millis() == 0 {
            format!("{}s", rung.as_secs())
        } else {
            format!("{}ms", rung.as_millis())
        }
    }
}

/// As in `1s,5s,30s`.
impl FromStr for Ladder {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split(',').map(parse_duration).collect::<Result<_, _>>().map(Self::new)
    }
}

/// `250ms`, `5s`, `10m`, `24h`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration; examples are 250ms, 5s, 10m, 24h");
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
    fn an_ordinary_message_climbs_every_rung_and_then_dies() {
        let ladder = Ladder::default();
        let waits: Vec<_> = (1..=4).map(|n| ladder.wait(n, false).map(Ladder::name)).collect();
        assert_eq!(waits, [Some("1s".into()), Some("5s".into()), Some("30s".into()), None]);
    }

    #[test]
    fn a_compensation_repeats_the_top_rung() {
        assert_eq!(Ladder::default().wait(99, true), Some(Duration::from_secs(30)));
        assert_eq!(Ladder::name(Duration::from_millis(1500)), "1500ms");
    }

    #[test]
    fn durations_are_written_with_their_unit() {
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("10m"), Ok(Duration::from_secs(600)));
        assert_eq!(parse_duration("24h"), Ok(Duration::from_hours(24)));
        for wrong in ["", "5", "s", "5 s", "-1s", "1d"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
        assert_eq!("1s,5s,30s".parse(), Ok(Ladder::default()));
        assert!("1s,,30s".parse::<Ladder>().is_err());
    }
}
