//! Interns equal values under one number, and caches answers: decisions are pure.

use std::{
    collections::HashMap,
    fmt::Debug,
    hash::Hash,
    marker::PhantomData,
    sync::{Arc, PoisonError, RwLock},
};

/// Numbers for values, which are compared by their debug output.
pub struct Pool<T> {
    known: RwLock<Known<T>>,
}

struct Known<T> {
    numbers: HashMap<String, u32>,
    values: Vec<Arc<T>>,
}

/// The number of a value in its pool.
pub struct Id<T> {
    number: u32,
    of: PhantomData<fn() -> T>,
}

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self { known: RwLock::new(Known { numbers: HashMap::new(), values: Vec::new() }) }
    }
}

impl<T: Debug> Pool<T> {
    pub fn put(&self, value: T) -> Id<T> {
        let text = format!("{value:?}");
        let Known { numbers, values } =
            &mut *self.known.write().unwrap_or_else(PoisonError::into_inner);
        let number = *numbers.entry(text).or_insert_with(|| {
            values.push(Arc::new(value));
            u32::try_from(values.len() - 1).expect("there are not that many")
        });
        Id { number, of: PhantomData }
    }

    pub fn get(&self, id: Id<T>) -> Arc<T> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.values[id.number as usize].clone()
    }
}

/// Answers that never change.
pub struct Memo<Q, A> {
    known: RwLock<HashMap<Q, Arc<A>>>,
}

impl<Q, A> Default for Memo<Q, A> {
    fn default() -> Self {
        Self { known: RwLock::default() }
    }
}

impl<Q: Eq + Hash, A> Memo<Q, A> {
    pub fn get(&self, question: Q, answer: impl FnOnce(&Q) -> A) -> Arc<A> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = known.get(&question) {
            return answer.clone();
        }
        drop(known);
        let answer = Arc::new(answer(&question));
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.entry(question).or_insert(answer).clone()
    }
}

impl<T> Clone for Id<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Id<T> {}

impl<T> Debug for Id<T> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.number.fmt(out)
    }
}

impl<T> PartialEq for Id<T> {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl<T> Eq for Id<T> {}

impl<T> PartialOrd for Id<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Id<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.number.cmp(&other.number)
    }
}

impl<T> Hash for Id<T> {
    fn hash<H: std::hash::Hasher>(&self, hasher: &mut H) {
        self.number.hash(hasher);
    }
}
