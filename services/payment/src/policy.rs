//! Computes the desk's retry policy: number of attempts, and backoff with jitter. Pure.

use database::Backoff;
use std::time::Duration;
use uuid::Uuid;

#[derive(Clone, Copy, Debug)]
pub struct Policy {
    pub attempts_max: u32,
    pub retry_delay: Duration,
}

impl Policy {
    /// The longest wait, whatever the provider asks for.
    pub const LONGEST: Duration = Duration::from_secs(60);

    /// The second attempt is immediate; from the third on the wait doubles, with a quarter of it as
    /// jitter, which derives from the key: every process computes the same.
    pub fn wait(self, attempts: u32, key: Uuid) -> Duration {
        if attempts <= 1 {
            return Duration::ZERO;
        }
        let backoff = Backoff { first: self.retry_delay, longest: Self::LONGEST };
        let wait = backoff.after(attempts - 2);
        let noise = u32::from(key.as_bytes()[15].wrapping_add(attempts.to_le_bytes()[0]));
        wait + wait * noise / 1024
    }

    /// The wait before a look-up after an unknown outcome: never zero, since the request may be on
    /// its way.
    pub fn wait_in_doubt(self, look_ups: u32, key: Uuid) -> Duration {
        self.wait(look_ups.saturating_add(2), key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy = Policy { attempts_max: 5, retry_delay: Duration::from_secs(2) };

    /// With so much noise at the second attempt.
    fn key(noise: u8) -> Uuid {
        Uuid::from_u128(u128::from(noise.wrapping_sub(2)))
    }

    #[test]
    fn keys_that_failed_together_are_tried_again_apart() {
        let waits = [0, 128, 255].map(|noise| POLICY.wait(2, key(noise)).as_millis());
        assert_eq!(waits, [2000, 2250, 2498]);
    }
}
