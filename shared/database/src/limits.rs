//! Derives all database time-outs from one setting. The server's own limits come first, so that a
//! deadline of ours is missed only when the server is silent.

use sqlx::Error;
use std::{io, time::Duration};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    deadline: Duration,
}

impl Limits {
    pub const DEFAULT: Self = Self::new(Duration::from_secs(10));

    pub const fn new(deadline: Duration) -> Self {
        Self { deadline }
    }

    /// For one statement or one commit, on our side: afterwards its connection is closed.
    pub const fn statement(self) -> Duration {
        self.deadline
    }

    /// From the request for a connection to having one.
    pub fn acquire(self) -> Duration {
        self.deadline / 2
    }

    /// For the ping of an idle connection; and after so long without an answer a server is tried
    /// anew, beside the first try.
    pub(crate) fn ping(self) -> Duration {
        self.deadline / 5
    }

    /// For TCP, TLS and login, however long an asker waits: on a busy machine they take long, and
    /// begun anew each time they would never end.
    pub(crate) fn login(self) -> Duration {
        self.deadline.saturating_mul(6)
    }

    /// The server's own limits, for each session. They end the transaction of a silent client
    /// before that client retries, so that its locks are free by then.
    pub(crate) fn session(self) -> Vec<(&'static str, String)> {
        let millis = |limit: Duration| limit.as_millis().max(1).to_string();
        let seconds = |limit: Duration| limit.as_secs().max(1).to_string();
        vec![
            // The statements that are sent together wait for locks in three places at most.
            ("lock_timeout", millis(self.deadline / 4)),
            ("statement_timeout", millis(self.deadline / 5 * 4)),
            ("idle_in_transaction_session_timeout", millis(self.deadline / 5 * 4)),
            // A vanished client frees its connection.
            ("tcp_user_timeout", millis(self.deadline)),
            ("tcp_keepalives_idle", seconds(self.deadline)),
            ("tcp_keepalives_interval", seconds(self.deadline / 5)),
            ("tcp_keepalives_count", "3".into()),
        ]
    }
}

/// An operation that has exceeded its limit.
pub fn late(what: &str, limit: Duration) -> Error {
    let why = format!("the database is silent: {what} has taken more than {limit:?}");
    Error::Io(io::Error::new(io::ErrorKind::TimedOut, why))
}
