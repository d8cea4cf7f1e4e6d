//! Limits each idempotency key to one request at a time within this process.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The idempotency keys at work in this process.
#[derive(Clone, Default)]
pub struct BusyKeys {
    keys: Arc<Mutex<HashSet<String>>>,
}

/// Keeps a key busy for as long as it lives.
pub struct HeldKey {
    busy: BusyKeys,
    key: String,
}

impl BusyKeys {
    /// `None` where it is busy already.
    pub fn hold(&self, key: &str) -> Option<HeldKey> {
        let free = self.lock().insert(key.into());
        free.then(|| HeldKey { busy: self.clone(), key: key.into() })
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<String>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for HeldKey {
    fn drop(&mut self) {
        self.busy.lock().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_held_once_at_a_time() {
        let busy = BusyKeys::default();
        let held = busy.hold("a");
        assert!(held.is_some());
        assert!(busy.hold("a").is_none());
        assert!(busy.hold("b").is_some());
        drop(held);
        assert!(busy.hold("a").is_some());
    }
}
