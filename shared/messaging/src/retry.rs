//! Paces failing attempts: backoff, and bounded logging.

use crate::Env;
use database::Backoff;
use std::{sync::Arc, time::Duration};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

pub struct Retry {
    env: Arc<dyn Env>,
    failures: u32,
    /// The beginnings of the failures that are logged.
    logged: Vec<String>,
}

impl Retry {
    const BACKOFF: Backoff =
        Backoff { first: Duration::from_millis(100), longest: Duration::from_secs(3) };
    const KINDS_MAX: usize = 8;

    pub const fn new(env: Arc<dyn Env>) -> Self {
        Self { env, failures: 0, logged: Vec::new() }
    }

    /// Logs the first failure of each kind, which is the text before its colon, and every
    /// twentieth.
    pub fn failed(&mut self, what: &str) {
        self.failures += 1;
        let kind = what.split(':').next().unwrap_or_default();
        let is_new =
            self.logged.len() < Self::KINDS_MAX && !self.logged.iter().any(|it| it == kind);
        if is_new {
            self.logged.push(kind.to_owned());
        }
        if is_new || self.failures.is_multiple_of(20) {
            tracing::warn!(failures = self.failures, "{what}; retrying");
        }
    }

    /// Logs the end of failures.
    pub fn succeeded(&mut self, what: &str) {
        self.goes_on(what);
        self.steady();
    }

    /// Logs a recovery that may not last: the pauses stay as long, and the next failure is logged.
    pub fn goes_on(&mut self, what: &str) {
        if self.failures > 0 {
            tracing::info!(after_failures = self.failures, "{what}");
        }
        self.logged.clear();
    }

    /// Begins with short pauses again, once a recovery has lasted.
    pub const fn steady(&mut self) {
        self.failures = 0;
    }

    /// False if the service stops meanwhile.
    pub async fn wait(&self, stop: &CancellationToken) -> bool {
        let wait = self.env.jittered(Self::BACKOFF.after(self.failures));
        stop.run_until_cancelled(sleep(wait)).await.is_some()
    }
}
