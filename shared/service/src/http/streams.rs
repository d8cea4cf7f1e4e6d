//! Limits the open event streams: in total, and per client.

use super::{client::Account, problem::Problem};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Between two events of a stream, for each open stream: with many, each gets fewer and larger
/// pieces.
const REST: Duration = Duration::from_micros(100);

pub struct Streams {
    max: usize,
    free: Arc<Semaphore>,
    per_client: usize,
    open: Arc<Open>,
}

type Open = Mutex<HashMap<Account, usize>>;

/// The permit for an open stream, while it is held.
pub struct OpenStream {
    _permit: OwnedSemaphorePermit,
    /// None if the client is unknown, as in tests.
    client: Option<Account>,
    open: Arc<Open>,
    max: usize,
    free: Arc<Semaphore>,
}

impl Streams {
    pub fn new(max: usize, per_client: usize) -> Self {
        Self { max, free: Arc::new(Semaphore::new(max)), per_client, open: Arc::default() }
    }

    pub fn open(&self, client: Option<Account>) -> Result<OpenStream, Problem> {
        let (free, open) = (self.free.clone(), self.open.clone());
        let permit = free.clone().try_acquire_owned().map_err(|_| Problem::overloaded())?;
        if let Some(client) = &client {
            let mut open = lock(&open);
            let count = open.entry(client.clone()).or_default();
            if *count >= self.per_client {
                return Err(Problem::too_many_streams(self.per_client));
            }
            *count += 1;
        }
        Ok(OpenStream { _permit: permit, client, open, max: self.max, free })
    }
}

impl OpenStream {
    /// How long to gather events before the next piece.
    pub fn rest(&self) -> Duration {
        let open = self.max.saturating_sub(self.free.available_permits());
        REST * u32::try_from(open).unwrap_or(u32::MAX)
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let Some(client) = &self.client else { return };
        let mut open = lock(&self.open);
        if let Some(count) = open.get_mut(client) {
            *count -= 1;
            if *count == 0 {
                open.remove(client);
            }
        }
    }
}

fn lock(open: &Open) -> MutexGuard<'_, HashMap<Account, usize>> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}
