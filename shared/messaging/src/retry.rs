//! Paces tries that fail: waits longer each time, and logs without a flood.

use crate::World;
use database::Backoff;
use std::{sync::Arc, time::Duration};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

pub struct Retry {
    world: Arc<dyn World>,
    failures: u32,
}

impl Retry {
    const BACKOFF: Backoff =
        Backoff { first: Duration::from_millis(100), longest: Duration::from_secs(3) };

    pub const fn new(world: Arc<dyn World>) -> Self {
        Self { world, failures: 0 }
    }

    /// Logs the first failure, and every twentieth.
    pub fn failed(&mut self, what: &str) {
        self.failures += 1;
        if self.failures == 1 || self.failures.is_multiple_of(20) {
            tracing::warn!(failures = self.failures, "{what}; trying again");
        }
    }

    /// Logs the end of failures.
    pub fn succeeded(&mut self, what: &str) {
        if self.failures > 0 {
            tracing::info!(after_failures = self.failures, "{what}");
        }
        self.failures = 0;
    }

    /// False if told to stop meanwhile.
    pub async fn wait(&self, stop: &CancellationToken) -> bool {
        let wait = self.world.jittered(Self::BACKOFF.after(self.failures));
        stop.run_until_cancelled(sleep(wait)).await.is_some()
    }
}
