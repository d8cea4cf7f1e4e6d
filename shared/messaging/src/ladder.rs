//! How long a failed message waits before its next attempt, and when it is dead.

use std::time::Duration;

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
}
