//! Paces failing attempts: backoff, and bounded logging.

use crate::Env;
use database::Backoff;
use std::{sync::Arc, time::Duration};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

pub struct Retry {
    env: Arc<dyn Env>,
    failures: u32,
}

impl Retry {
    const BACKOFF: Backoff =
        Backoff { first: Duration::from_millis(100), longest: Duration::from_secs(3) };

    pub const fn new(env: Arc<dyn Env>) -> Self {
        Self { env, failures: 0 }
    }

    /// Logs the first failure, and every twentieth.
    pub fn failed(&mut self, what: &str) {
        self.failures += 1;
        if self.failures == 1 || self.failures.is_multiple_of(20) {
            tracing::warn!(failures = self.failures, "{what}; retrying");
        }
    }

    /// Logs the end of failures.
    pub fn succeeded(&mut self, what: &str) {
        if self.failures > 0 {
            tracing::info!(after_failures = self.failures, "{what}");
        }
        self.failures = 0;
    }

    /// False if the service stops meanwhile.
    pub async fn wait(&self, stop: &CancellationToken) -> bool {
        let wait = self.env.jittered(Self::BACKOFF.after(self.failures));
        stop.run_until_cancelled(sleep(wait)).await.is_some()
    }
}
