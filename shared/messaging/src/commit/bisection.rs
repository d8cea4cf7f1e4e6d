//! Finds the items that fail a batch: a group that fails is retried in halves, so that only the
//! culprits fail.

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
