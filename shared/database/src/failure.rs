//! The one distinction that matters when a statement fails: is it us, or the world.

use refinery_core::error::Kind;
use std::fmt;

/// Why a piece of database work did not happen.
#[derive(Debug)]
pub enum Failure {
    /// The database is away, busy or shutting down: nothing is wrong with what was asked.
    World(anyhow::Error),
    /// The database refuses what was asked, and always will.
    Data(anyhow::Error),
}

impl Failure {
    pub fn data(reason: impl fmt::Display + fmt::Debug + Send + Sync + 'static) -> Self {
        Self::Data(anyhow::Error::msg(reason))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::World(why) | Self::Data(why) => write!(out, "{why:#}"),
        }
    }
}

impl std::error::Error for Failure {}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        // Class 22 is a bad value, class 23 a violated constraint; the rest may pass with time.
        let refused = error
            .as_database_error()
            .and_then(sqlx::error::DatabaseError::code)
            .is_some_and(|code| code.starts_with("22") || code.starts_with("23"));
        let unreadable = matches!(error, sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_));
        if refused || unreadable { Self::Data(error.into()) } else { Self::World(error.into()) }
    }
}

/// Whether a value was refused that no state of the database would take: class 22.
pub fn is_value(why: &anyhow::Error) -> bool {
    why.chain().any(|cause| {
        let refusal = cause.downcast_ref::<sqlx::Error>().and_then(sqlx::Error::as_database_error);
        refusal
            .and_then(sqlx::error::DatabaseError::code)
            .is_some_and(|code| code.starts_with("22"))
    })
}

/// What to do where waiting cannot help: the login is wrong, the database does not exist, or its
/// schema is not this release's past.
pub fn hopeless(why: &anyhow::Error) -> Option<&'static str> {
    why.chain().find_map(|cause| {
        if let Some(refinery) = cause.downcast_ref::<refinery_core::Error>()
            && matches!(
                refinery.kind(),
                Kind::DivergentVersion(..) | Kind::MissingVersion(_) | Kind::RepeatedVersion(_)
            )
        {
            return Some(
                "the schema was made by another release, and not by an older or newer one of this \
                 history: start the release that made it, or name another database (DATABASE_URL)",
            );
        }
        let Some(sqlx::Error::Database(refusal)) = cause.downcast_ref::<sqlx::Error>() else {
            return None;
        };
        matches!(refusal.code().as_deref(), Some("28P01" | "28000" | "3D000" | "42501"))
            .then_some("the database refuses us; check DATABASE_URL")
    })
}
