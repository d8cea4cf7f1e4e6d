//! Counts what this process records, by name: events, and the statuses in which orders end. The
//! live page makes rates of it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

#[derive(Clone, Default)]
pub struct Tally(Arc<Mutex<BTreeMap<&'static str, u64>>>);

impl Tally {
    pub fn add(&self, names: impl Iterator<Item = &'static str>) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        names.for_each(|name| *counts.entry(name).or_default() += 1);
    }

    pub fn read(&self) -> BTreeMap<&'static str, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
