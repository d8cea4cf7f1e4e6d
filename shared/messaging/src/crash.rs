//! Names the crash points, at which a test can end the process. Only a build with the feature
//! `crash-points` has them: the tests' build, not a release.

/// Where a test can end the process, by `CRASH_AT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashPoint {
    /// A batch is received, and not yet handled.
    Received,
    /// Its keys are in the inbox and the states are loaded; nothing is committed.
    Noted,
    /// States and outbox are written; nothing is committed.
    Written,
    /// Committed, not acknowledged.
    Committed,
    /// On a retry tier or in the dead letters, and still in its queue.
    PutAside,
    Acknowledged,
    /// Published, not confirmed.
    Published,
    /// Confirmed, and still in the outbox.
    Confirmed,
    /// Deleted from the outbox.
    Forgotten,
    /// An order is committed, and the client has no answer.
    OrderCommitted,
    /// A cancel request is committed, and the client has no answer.
    CancelCommitted,
    /// A charge is claimed, and the provider not called.
    ChargeTaken,
    /// The provider has answered, and nothing is written.
    ChargeAnswered,
    /// The provider's answer is committed, and not yet sent on.
    VerdictCommitted,
    /// Expired claims are released.
    ChargePutBack,
    /// Dead letters are fetched, and nothing is done about them.
    LettersTaken,
    /// A dead letter no longer counts as purged, and is not sent.
    LetterRevived,
    /// A repair is recorded, and the new event is not sent.
    RepairNoted,
    /// It is replayed, or recorded as purged, and is still a dead letter.
    LetterSettled,
    /// It is acknowledged as a dead letter, if RabbitMQ has processed that.
    LetterGone,
}

/// Ends the process like `kill -9`, if `CRASH_AT` names this point.
#[cfg(feature = "crash-points")]
pub fn crash_at(point: CrashPoint) {
    if crash_is_due(point) {
        std::process::abort();
    }
}

/// Whether `CRASH_AT` names this point: what leads up to it must be done, and not only queued.
#[cfg(feature = "crash-points")]
pub fn crash_is_due(point: CrashPoint) -> bool {
    static CHOSEN: std::sync::LazyLock<Option<String>> =
        std::sync::LazyLock::new(|| std::env::var("CRASH_AT").ok());
    CHOSEN.as_ref().is_some_and(|chosen| *chosen == format!("{point:?}"))
}

#[cfg(not(feature = "crash-points"))]
#[inline]
pub const fn crash_is_due(_: CrashPoint) -> bool {
    false
}

#[cfg(not(feature = "crash-points"))]
#[inline]
pub const fn crash_at(_: CrashPoint) {}
