//! Limits the rate of requests per client: one token bucket each.

use super::client::Account;
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// Above this many clients, quiet ones are forgotten.
const CLIENTS_MAX: usize = 10_000;

/// A token bucket per client, of one second's requests.
pub struct Rate {
    per_second: f64,
    buckets: Mutex<HashMap<Account, Bucket>>,
}

#[derive(Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Rate {
    pub fn new(per_second: u32) -> Self {
        Self { per_second: per_second.into(), buckets: Mutex::default() }
    }

    /// The error is the number of seconds until the next attempt can succeed.
    pub fn admit(&self, client: Account) -> Result<(), u32> {
        let now = Instant::now();
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= CLIENTS_MAX {
            // A bucket that must be full again need not be kept.
            buckets.retain(|_, bucket| now - bucket.at < Duration::from_secs(1));
            if buckets.len() >= CLIENTS_MAX {
                buckets.clear();
            }
        }
        let full = Bucket { tokens: self.per_second, at: now };
        let bucket = buckets.entry(client).or_insert(full);
        let elapsed_s = (now - bucket.at).as_secs_f64();
        let tokens = elapsed_s.mul_add(self.per_second, bucket.tokens).min(self.per_second);
        let admitted = tokens >= 1.0;
        *bucket = Bucket { tokens: if admitted { tokens - 1.0 } else { tokens }, at: now };
        if admitted { Ok(()) } else { Err(1) }
    }
}
