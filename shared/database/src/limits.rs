//! How long anything may wait for the database. One setting gives all of it: what the server ends
//! by itself comes first, so that a deadline of ours is missed only when the server is silent.

use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    deadline: Duration,
}

impl Limits {
    pub const DEFAULT: Self = Self::new(Duration::from_secs(10));

    pub const fn new(deadline: Duration) -> Self {
        Self { deadline }
    }

    /// For one statement or one commit, on our side: its connection is thrown away then.
    pub const fn statement(self) -> Duration {
        self.deadline
    }

    /// From asking for a connection to having one: its place, TCP, TLS and login.
    pub fn acquire(self) -> Duration {
        self.deadline / 2
    }

    /// For an idle connection to show that it lives.
    pub fn ping(self) -> Duration {
        self.deadline / 5
    }

    /// The server's own, for each session. It ends what a silent client has left behind before
    /// that client tries again, so that locks are free by then.
    pub fn session(self) -> Vec<(&'static str, String)> {
        let millis = |limit: Duration| limit.as_millis().max(1).to_string();
        let seconds = |limit: Duration| limit.as_secs().max(1).to_string();
        vec![
            ("lock_timeout", millis(self.deadline / 2)),
            ("statement_timeout", millis(self.deadline / 5 * 4)),
            ("idle_in_transaction_session_timeout", millis(self.deadline / 5 * 4)),
            // A client that has vanished gives its place back.
            ("tcp_user_timeout", millis(self.deadline)),
            ("tcp_keepalives_idle", seconds(self.deadline)),
            ("tcp_keepalives_interval", seconds(self.deadline / 5)),
            ("tcp_keepalives_count", "3".into()),
        ]
    }
}
