//! Defines a server's lifetime: bound to this process, or in the background.

use std::sync::Arc;

use anyhow::Result;

use crate::Watchdog;

#[derive(Clone)]
pub enum Lifetime {
    /// The server ends when its handle is dropped, or when this process dies, even by `kill -9`.
    /// Handles that share a watchdog are cleaned up together.
    Bound(Arc<Watchdog>),
    /// The server continues in the background, and is found again by its pid file.
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
