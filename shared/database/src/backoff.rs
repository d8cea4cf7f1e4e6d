//! Exponential backoff: waits between tries that double up to a limit.

use std::time::Duration;

#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    pub first: Duration,
    pub longest: Duration,
}

impl Backoff {
    /// The wait after so many earlier ones.
    pub fn after(self, waits: u32) -> Duration {
        self.first.saturating_mul(1 << waits.min(20)).min(self.longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_up_to_its_limit() {
        let (first, longest) = (Duration::from_secs(2), Duration::from_mins(1));
        let backoff = Backoff { first, longest };
        let waits = [0, 1, 4, 5, 30, u32::MAX].map(|waits| backoff.after(waits).as_secs());
        assert_eq!(waits, [2, 4, 32, 60, 60, 60]);
    }
}
