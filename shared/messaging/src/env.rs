//! Provides time and randomness, the only inputs that code takes without a server. Replaceable, so
//! that a simulation controls both.

use chrono::{DateTime, Utc};
use std::{sync::Arc, time::Duration};
use uuid::Uuid;

pub trait Env: Send + Sync + 'static {
    fn now(&self) -> DateTime<Utc>;
    fn random(&self) -> u64;

    /// A new id that sorts by time.
    fn new_id(&self) -> Uuid {
        let millis = self.now().timestamp_millis().unsigned_abs();
        let mut noise = [0; 10];
        noise[..8].copy_from_slice(&self.random().to_le_bytes());
        noise[8..].copy_from_slice(&self.random().to_le_bytes()[..2]);
        uuid::Builder::from_unix_timestamp_millis(millis, &noise).into_uuid()
    }

    /// Backoff with jitter: between half of it and all of it, so that waiting clients do not return
    /// at the same moment.
    fn jittered(&self, delay: Duration) -> Duration {
        let share = 512 + u32::try_from(self.random() % 513).unwrap_or(0);
        delay * share / 1024
    }

    /// A W3C `traceparent` that starts here.
    fn new_trace(&self) -> String {
        let (high, low, span) = (self.random(), self.random() | 1, self.random() | 1);
        format!("00-{high:016x}{low:016x}-{span:016x}-01")
    }
}

pub struct SystemEnv;

impl SystemEnv {
    pub fn shared() -> Arc<dyn Env> {
        Arc::new(Self)
    }
}

impl Env for SystemEnv {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that throws the dice")]
    fn random(&self) -> u64 {
        rand::random()
    }
}
