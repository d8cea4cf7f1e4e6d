//! Keeps the idle connections: the pool takes them from here, and a connection that is dropped
//! returns here, so it need not know the pool.

use crate::{Limits, wire::Wire};
use sqlx::Error;
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

pub const IDLE_MAX: Duration = Duration::from_mins(3);

/// Writers and readers have separate connections, half of them each: neither waits for the other.
pub struct IdleConnections {
    pub limits: Limits,
    pub reading: Lane<sqlx::PgConnection>,
    pub writing: Lane<Wire>,
    is_closed: AtomicBool,
    is_in_doubt: AtomicBool,
}

pub struct Lane<C> {
    room: Arc<Semaphore>,
    /// One connection is opened at a time: many at once would take each other's time.
    opening: Arc<Semaphore>,
    idle: Mutex<Vec<Idle<C>>>,
    /// To those who wait while another connection is opened.
    pub returned: Notify,
}

pub struct Idle<C> {
    pub live: Live<C>,
    pub since: Instant,
}

/// A connection, and its place among those of its lane.
pub struct Live<C> {
    pub raw: C,
    pub expires: Instant,
}

impl IdleConnections {
    pub fn new(limits: Limits, readers: u32, writers: u32) -> Self {
        let (reading, writing) = (Lane::new(readers), Lane::new(writers));
        Self { limits, reading, writing, is_closed: false.into(), is_in_doubt: false.into() }
    }

    /// From one of its lanes.
    pub fn take<C>(&self, lane: &Lane<C>) -> Result<Option<Idle<C>>, Error> {
        if self.is_closed.load(Ordering::Acquire) {
            return Err(Error::PoolClosed);
        }
        self.reading.close_old();
        self.writing.close_old();
        Ok(lane.lock().pop())
    }

    /// Into one of its lanes.
    pub fn put<C>(&self, lane: &Lane<C>, live: Live<C>, room: OwnedSemaphorePermit) {
        if !self.is_closed.load(Ordering::Acquire) {
            lane.lock().push(Idle { live, since: Instant::now() });
            lane.returned.notify_waiters();
        }
        // After the connection: the next holder of the permit finds it.
        drop(room);
    }

    /// One of them was silent, or takes no writes: the others are closed without a wait.
    pub fn forget(&self) {
        self.is_in_doubt.store(true, Ordering::Release);
        self.reading.lock().clear();
        self.writing.lock().clear();
    }

    /// Whether there was a reason since the last call to doubt that this is the server to use.
    pub fn is_in_doubt(&self) -> bool {
        self.is_in_doubt.swap(false, Ordering::AcqRel)
    }

    /// No connection is given away any more.
    pub fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        self.forget();
    }
}

impl<C> Lane<C> {
    fn new(room: u32) -> Self {
        let semaphore = |permits| Arc::new(Semaphore::new(permits));
        let (room, opening) = (semaphore(room as usize), semaphore(1));
        Self { room, opening, idle: Mutex::default(), returned: Notify::new() }
    }

    /// A permit for one connection, open or to be opened; waits for one that is returned.
    pub async fn room(&self) -> Result<OwnedSemaphorePermit, Error> {
        self.room.clone().acquire_owned().await.map_err(|_| Error::PoolClosed)
    }

    /// A permit to open a connection.
    pub async fn opening(&self) -> Result<OwnedSemaphorePermit, Error> {
        self.opening.clone().acquire_owned().await.map_err(|_| Error::PoolClosed)
    }

    fn close_old(&self) {
        let now = Instant::now();
        self.lock().retain(|one| one.live.expires > now && one.since + IDLE_MAX > now);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Idle<C>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(all(test, feature = "testing"))]
impl IdleConnections {
    /// As if it were so much later, for what is idle.
    pub fn later(&self, by: Duration) {
        self.reading.later(by);
        self.writing.later(by);
    }
}

#[cfg(all(test, feature = "testing"))]
impl<C> Lane<C> {
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    fn later(&self, by: Duration) {
        for one in &mut *self.lock() {
            (one.since, one.live.expires) = (one.since - by, one.live.expires - by);
        }
    }
}
