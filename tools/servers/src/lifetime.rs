//! How long a server lives.

use std::sync::Arc;

use anyhow::Result;

use crate::Watchdog;

#[derive(Clone)]
pub enum Lifetime {
    /// It ends when its handle is dropped, or when this process dies, even by `kill -9`. Handles
    /// that share a watchdog have what they leave behind cleared away together.
    Bound(Arc<Watchdog>),
    /// It goes on in the background, and is found again by its pid file.
    Detached,
}

impl Lifetime {
    pub fn bound() -> Result<Self> {
        Ok(Self::Bound(Arc::new(Watchdog::start()?)))
    }

    pub(crate) fn watchdog(&self) -> Option<&Watchdog> {
        match self {
            Self::Bound(watchdog) => Some(watchdog),
            Self::Detached => None,
        }
    }
}
