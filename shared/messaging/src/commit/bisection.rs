//! Finds the items that fail a batch: a group that fails is retried in halves, so that only the
//! culprits fail.

use crate::{Env, Retry};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The groups of a batch that are yet to be tried.
pub struct Bisection<T>(Vec<Vec<T>>);

impl<T> Bisection<T> {
    pub fn new(batch: Vec<T>) -> Self {
        let mut groups = Self(Vec::new());
        groups.again(batch);
        groups
    }

    /// In the order of the batch. Never empty.
    pub fn next_group(&mut self) -> Option<Vec<T>> {
        self.0.pop()
    }

    /// To be tried next.
    pub fn again(&mut self, group: Vec<T>) {
        if !group.is_empty() {
            self.0.push(group);
        }
    }

    /// One item of this group fails, and it is unknown which; returns the culprit if it was alone.
    pub fn halve(&mut self, mut group: Vec<T>) -> Option<T> {
        if group.len() < 2 {
            return group.pop();
        }
        let second = group.split_off(group.len() / 2);
        self.0.extend([second, group]);
        None
    }
}

/// Paces a batch of which the database, while it answers, refuses some items for now.
pub struct Refusals {
    began: Instant,
    retry: Retry,
}

impl Refusals {
    /// A lone item is tried again for so long: most locks are short.
    const PATIENCE: Duration = Duration::from_secs(5);
    /// Groups are divided for so long. Each try may take as long as a statement, and other batches
    /// wait.
    const DIVIDED_FOR: Duration = Duration::from_secs(30);

    /// The batch begins.
    pub fn new(env: Arc<dyn Env>) -> Self {
        Self { began: Instant::now(), retry: Retry::new(env) }
    }

    /// Has a refused group tried again: its halves, or a lone item after a pause. Returns what has
    /// held up the others for long enough, to be set aside.
    pub async fn refused<T>(
        &mut self,
        groups: &mut Bisection<T>,
        group: Vec<T>,
        why: &str,
        stop: &CancellationToken,
    ) -> Vec<T> {
        let took = self.began.elapsed();
        if group.len() > 1 && took < Self::DIVIDED_FOR {
            return Vec::from_iter(groups.halve(group));
        }
        if group.len() > 1 || took >= Self::PATIENCE {
            return group;
        }
        self.retry.failed(why);
        if !self.retry.wait(stop).await {
            return group;
        }
        groups.again(group);
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_but_the_culprits_pass_in_their_order() {
        let mut groups = Bisection::new((0..100).collect());
        let (mut passed, mut culprits, mut tries) = (Vec::new(), Vec::new(), 0);
        while let Some(group) = groups.next_group() {
            tries += 1;
            if group.iter().any(|item| [7, 70].contains(item)) {
                culprits.extend(groups.halve(group));
            } else {
                passed.extend(group);
            }
        }
        assert_eq!(culprits, [7, 70]);
        assert_eq!(passed, (0..100).filter(|item| !culprits.contains(item)).collect::<Vec<_>>());
        assert!(tries < 30, "{tries}");
    }

    #[test]
    fn an_empty_batch_is_not_tried() {
        assert_eq!(Bisection::<u8>::new(Vec::new()).next_group(), None);
    }
}
