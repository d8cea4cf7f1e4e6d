//! The places at which a crash would hurt most, by name, so that a test can end the process at each
//! of them. Only a build with the feature `crash-points` can: the tests' has it, a release has not.

/// Where a process can be told to end, by `CRASH_AT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashPoint {
    /// A batch is here, and nothing is done about it.
    Received,
    /// Its keys are in the idempotency table; nothing is committed.
    Noted,
    Loaded,
    /// States and outbox are written; nothing is committed.
    Written,
    /// Committed, not acknowledged.
    Committed,
    /// On a retry rung or among the dead letters, and still in its queue.
    PutAside,
    Acknowledged,
    /// With the broker, perhaps: it has not confirmed.
    Published,
    /// The broker has it, and the outbox too.
    Confirmed,
    /// Gone from the outbox.
    Forgotten,
    /// An order is taken, and the client has no answer.
    OrderCommitted,
    /// A cancel is said and the client has no answer.
    CancelCommitted,
    /// A charge is in hand, and the provider not asked.
    ChargeTaken,
    /// The provider has answered, and nothing is written.
    ChargeAnswered,
    /// The answer is committed, and nobody is told.
    VerdictCommitted,
    /// What a crash has left in hand is due again.
    ChargePutBack,
    /// Dead letters are in a person's hand, and nothing is done about them.
    LettersTaken,
    /// A dead letter counts as purged no more, and is not sent.
    LetterRevived,
    /// It is to go on as another event, and is not sent.
    RepairNoted,
    /// It is sent on, or noted as thrown away, and is a dead letter still.
    LetterSettled,
    /// It is taken out of the dead letters, if RabbitMQ has heard so.
    LetterGone,
}

/// Ends the process, as `kill -9` would, if it was told to end here.
#[cfg(feature = "crash-points")]
pub fn crash_at(point: CrashPoint) {
    static CHOSEN: std::sync::LazyLock<Option<String>> =
        std::sync::LazyLock::new(|| std::env::var("CRASH_AT").ok());
    if CHOSEN.as_ref().is_some_and(|chosen| *chosen == format!("{point:?}")) {
        std::process::abort();
    }
}

#[cfg(not(feature = "crash-points"))]
#[inline]
pub const fn crash_at(_: CrashPoint) {}
