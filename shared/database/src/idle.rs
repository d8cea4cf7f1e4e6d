//! Keeps the idle connections: the pool takes them from here, and a connection that is dropped
//! returns here, so it need not know the pool.

use crate::Limits;
use sqlx::{Error, postgres::PgConnectOptions};
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

pub const IDLE_MAX: Duration = Duration::from_mins(3);

pub struct IdleConnections {
    limits: Limits,
    reading: Lane,
    writing: Lane,
    is_closed: AtomicBool,
}

/// Writers and readers have separate connections, half of them each: neither waits for the other.
pub struct Lane {
    room: Arc<Semaphore>,
    options: PgConnectOptions,
    idle: Mutex<Vec<Idle>>,
}

pub struct Idle {
    pub live: Live,
    pub since: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Read,
    Write,
}

pub struct Live {
    pub raw: sqlx::PgConnection,
    pub expires: Instant,
}

impl IdleConnections {
    pub fn new(limits: Limits, reading: Lane, writing: Lane) -> Self {
        Self { limits, reading, writing, is_closed: false.into() }
    }

    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// The options to open a connection of this purpose with.
    pub fn options(&self, purpose: Purpose) -> &PgConnectOptions {
        &self.lane(purpose).options
    }

    /// A permit for one connection, open or to be opened; waits for one that is returned.
    pub async fn room(&self, purpose: Purpose) -> Result<OwnedSemaphorePermit, Error> {
        let room = self.lane(purpose).room.clone().acquire_owned().await;
        room.map_err(|_| Error::PoolClosed)
    }

    pub fn take(&self, purpose: Purpose) -> Result<Option<Idle>, Error> {
        if self.is_closed.load(Ordering::Acquire) {
            return Err(Error::PoolClosed);
        }
        let mut found = None;
        let now = Instant::now();
        for (lane, wanted) in [(&self.reading, Purpose::Read), (&self.writing, Purpose::Write)] {
            let mut idle = lane.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.retain(|one| one.live.expires > now && one.since + IDLE_MAX > now);
            if wanted == purpose {
                found = idle.pop();
            }
        }
        Ok(found)
    }

    pub fn put(&self, live: Live, purpose: Purpose, room: OwnedSemaphorePermit) {
        if !self.is_closed.load(Ordering::Acquire) {
            let idle = Idle { live, since: Instant::now() };
            self.lane(purpose).idle.lock().unwrap_or_else(PoisonError::into_inner).push(idle);
        }
        // After the connection: the next holder of the permit finds it.
        drop(room);
    }

    /// One of them was silent: the others are closed without a wait.
    pub fn forget(&self) {
        for lane in [&self.reading, &self.writing] {
            lane.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }

    /// No connection is given away any more.
    pub fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        self.forget();
    }

    fn lane(&self, purpose: Purpose) -> &Lane {
        match purpose {
            Purpose::Read => &self.reading,
            Purpose::Write => &self.writing,
        }
    }
}

impl Lane {
    pub fn new(room: u32, options: PgConnectOptions) -> Self {
        let room = Arc::new(Semaphore::new(room as usize));
        Self { room, options, idle: Mutex::default() }
    }
}

#[cfg(all(test, feature = "testing"))]
impl IdleConnections {
    /// How many connections to write on are idle.
    pub fn writers(&self) -> usize {
        self.writing.idle.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// As if it were so much later, for what is idle.
    pub fn later(&self, by: Duration) {
        for lane in [&self.reading, &self.writing] {
            let mut idle = lane.idle.lock().unwrap_or_else(PoisonError::into_inner);
            for one in idle.iter_mut() {
                (one.since, one.live.expires) = (one.since - by, one.live.expires - by);
            }
        }
    }
}
