//! Classifies a failed statement: transient, refused for now, or permanent.

use refinery_core::error::Kind;
use std::{borrow::Cow, fmt};

/// Why a piece of database work has failed.
#[derive(Debug)]
pub enum Failure {
    /// The database is unavailable, full or shutting down: no transaction can succeed.
    Transient(anyhow::Error),
    /// The database answers, and refuses this transaction for now: a row is locked or unreadable,
    /// or it takes too long. Others may succeed meanwhile.
    Refused(anyhow::Error),
    /// The database refuses the statement, and always will.
    Permanent(anyhow::Error),
}

impl Failure {
    pub fn permanent(reason: impl fmt::Display + fmt::Debug + Send + Sync + 'static) -> Self {
        Self::Permanent(anyhow::Error::msg(reason))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transient(why) | Self::Refused(why) | Self::Permanent(why) => {
                out.write_str(&reason(why))
            }
        }
    }
}

/// The error with its causes, but for those that it names itself, as sqlx's errors do.
fn reason(why: &anyhow::Error) -> String {
    let mut told: Vec<String> = Vec::new();
    for cause in why.chain().map(ToString::to_string) {
        if !told.last().is_some_and(|it| it.contains(&cause)) {
            told.push(cause);
        }
    }
    told.join(": ")
}

impl std::error::Error for Failure {}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        if matches!(error, sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_)) {
            return Self::Permanent(error.into());
        }
        match state(&error).as_deref() {
            // A bad value, a violated constraint.
            Some(state) if state.starts_with("22") || state.starts_with("23") => {
                Self::Permanent(error.into())
            }
            Some(state) if !is_away(state) => Self::Refused(error.into()),
            _ => Self::Transient(error.into()),
        }
    }
}

/// Whether the server serves no transaction: it has ended the connection or takes none, is a
/// standby, or its disk is full.
fn is_away(state: &str) -> bool {
    let classes = ["08", "28", "3D", "57P"];
    classes.iter().any(|class| state.starts_with(class))
        || matches!(state, "25006" | "25P03" | "53100" | "53300")
}

/// Postgres' own code of the error (SQLSTATE).
fn state(error: &sqlx::Error) -> Option<Cow<'_, str>> {
    error.as_database_error()?.code()
}

/// Whether a lock was not given in time.
pub fn is_locked(error: &sqlx::Error) -> bool {
    state(error).is_some_and(|state| state == "55P03")
}

/// Whether the server takes no writes: it is a standby now.
pub fn is_read_only(error: &sqlx::Error) -> bool {
    state(error).is_some_and(|state| state == "25006")
}

/// Whether the password was refused, or the user.
pub fn is_login(error: &sqlx::Error) -> bool {
    state(error).is_some_and(|state| matches!(&*state, "28P01" | "28000"))
}

/// Whether a value was refused that no state of the database would accept: class 22.
pub fn is_value(why: &anyhow::Error) -> bool {
    let mut states = why.chain().filter_map(|cause| state(cause.downcast_ref()?));
    states.any(|state| state.starts_with("22"))
}

/// What to do if waiting cannot help: the login is wrong, the database does not exist, or its
/// schema has another history than this release's.
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
        let error = cause.downcast_ref()?;
        let state = state(error)?;
        matches!(&*state, "28P01" | "28000" | "3D000" | "42501").then(|| advice(error))
    })
}

/// A server without an entry for plain connections, or that wants a certificate, says so only in
/// words.
fn advice(error: &sqlx::Error) -> &'static str {
    let text = error.to_string();
    if text.contains("no encryption") {
        "the database takes no plain connection; add sslmode=verify-full and sslrootcert to \
         DATABASE_URL"
    } else if text.contains("certificate") {
        "the database wants a certificate of ours that has the user's name; name its files in \
         DATABASE_URL, by sslcert and sslkey"
    } else {
        "the database rejected the connection; check DATABASE_URL or its file, and that the \
         certificate of sslcert, if there is one, has the user's name"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::throwaway;
    use sqlx::AssertSqlSafe;

    #[test]
    fn a_cause_that_the_error_names_itself_is_told_once() {
        let named = anyhow::anyhow!("no space").context("cannot write: no space");
        let failure = Failure::Permanent(named.context("the row is not saved"));
        assert_eq!(failure.to_string(), "the row is not saved: cannot write: no space");
    }

    #[tokio::test]
    async fn a_server_that_refuses_one_transaction_is_told_from_one_that_serves_nobody() {
        let pool = throwaway().await;
        for (state, kind) in [
            ("55P03", "refused"),
            ("57014", "refused"),
            ("40P01", "refused"),
            ("XX001", "refused"),
            ("54000", "refused"),
            ("57P01", "transient"),
            ("57P03", "transient"),
            ("08006", "transient"),
            ("25006", "transient"),
            ("53100", "transient"),
            ("22003", "permanent"),
            ("23514", "permanent"),
        ] {
            let raise =
                format!("DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{state}'; END $$");
            let refused =
                sqlx::query(AssertSqlSafe(raise)).execute(&pool).await.map_err(Failure::from);
            let found = match refused.unwrap_err() {
                Failure::Transient(_) => "transient",
                Failure::Refused(_) => "refused",
                Failure::Permanent(_) => "permanent",
            };
            assert_eq!(found, kind, "{state}");
        }
    }
}
