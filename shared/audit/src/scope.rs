//! Says which orders, or events, are read.

use uuid::Uuid;

/// Those with ids from the first to the last; or only some of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    pub first: Uuid,
    pub last: Uuid,
    /// In order, each once.
    pub only: Option<Vec<Uuid>>,
}

impl Scope {
    pub const ALL: Self = Self::range(Uuid::nil(), Uuid::max());

    pub const fn range(first: Uuid, last: Uuid) -> Self {
        Self { first, last, only: None }
    }

    pub fn only(ids: impl IntoIterator<Item = Uuid>) -> Self {
        let mut ids: Vec<_> = ids.into_iter().collect();
        ids.sort_unstable();
        ids.dedup();
        let (first, last) = (ids.first().copied(), ids.last().copied());
        Self { first: first.unwrap_or_default(), last: last.unwrap_or_default(), only: Some(ids) }
    }

    pub fn contains(&self, id: Uuid) -> bool {
        match &self.only {
            Some(ids) => ids.binary_search(&id).is_ok(),
            None => (self.first..=self.last).contains(&id),
        }
    }
}

/// A query of the rows in a scope, by the column with their ids; what follows the condition comes
/// last.
#[macro_export]
macro_rules! select_in {
    ($query:path, $scope:expr, $select:literal, $id:literal $(, $rest:literal)?) => {
        $query(concat!(
            $select, " WHERE ", $id, " BETWEEN $1 AND $2 AND ($3::UUID[] IS NULL OR ", $id,
            " = ANY($3))" $(, $rest)?
        ))
        .bind($scope.first)
        .bind($scope.last)
        .bind(&$scope.only)
    };
}
