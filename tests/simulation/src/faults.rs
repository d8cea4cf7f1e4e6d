//! The possible faults of a run, and the probability of each. Each seed has its own mixture: where
//! everything fails all the time, no order gets far enough to break.

use rand::{RngExt, rngs::StdRng};

/// Probabilities between 0 and 1, for each step at which the fault can happen.
#[derive(Clone, Debug)]
pub struct Faults {
    /// A process ends between two steps.
    pub crash: f64,
    pub pause: f64,
    /// A transaction cannot begin, or a statement fails.
    pub database: f64,
    /// A commit fails before it took effect.
    pub commit_refused: f64,
    /// A commit takes effect, but reports a failure.
    pub commit_lost: f64,
    /// The database refuses a write, this time.
    pub data: f64,
    /// A connection cannot be made, or breaks before a publication.
    pub broker: f64,
    /// A publication is stored, wholly or in part, but not confirmed.
    pub confirm_lost: f64,
    /// A queue refuses an event.
    pub refused: f64,
    /// An event is delivered once more, much later.
    pub duplicate: f64,
    pub ack_lost: f64,
    /// The provider cannot be reached, or answers 503.
    pub provider_down: f64,
    /// The provider does what it is asked, but answers something else; or it decides later.
    pub provider_lies: f64,
    /// The provider does not answer, and has done, will do, or will never do what it was asked.
    pub provider_lost: f64,
    /// The maximum error of a machine's clock.
    pub machine_off_ms: u64,
    /// The maximum error of a database's clock, which is smaller.
    pub database_off_ms: u64,
    /// A gremlin acts at intervals of this many milliseconds, at most.
    pub gremlin_every_ms: u64,
}

/// A deliberate bug in what holds the saga together, to see whether it is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    AcknowledgesBeforeCommit,
    DeletesBeforeConfirm,
    HasNoIdempotencyTable,
    /// A repeated event is recorded in the idempotency table, and handled again all the same.
    HandlesAgain,
    /// Another content under a known id is accepted as a repetition.
    IgnoresForgeries,
    ReaperChargesBlindly,
    /// A process uses its machine's clock, and not its database's.
    GoesByItsOwnClock,
    /// The same, but only for an order's age.
    DeadlineByItsOwnClock,
    /// A 503 to a charge is treated as a request that was never sent.
    Takes503ForNo,
    /// A cell adds the pieces of a repeated transfer once more.
    AppliesTransfersTwice,
    /// A cell gives pieces in another transaction than the one that says so.
    ReducesAfterSaying,
    /// No request of a cell reaches another.
    LosesRequests,
    /// A cell that has not answered is treated as one that has nothing.
    TakesSilenceForNothing,
}

const HOUR_MS: f64 = 3_600_000.0;

impl Faults {
    pub fn draw(dice: &mut StdRng, mutant: Option<Mutant>) -> Self {
        let mut share = |most: f64| match dice.random_range(0..3) {
            0 => 0.0,
            1 => most / 10.0,
            _ => most,
        };
        let drawn = Self {
            crash: share(0.02),
            pause: share(0.5),
            database: share(0.05),
            commit_refused: share(0.05),
            commit_lost: share(0.05),
            data: share(0.02),
            broker: share(0.05),
            confirm_lost: share(0.1),
            refused: share(0.05),
            duplicate: share(0.2),
            ack_lost: share(0.05),
            provider_down: share(0.7),
            provider_lost: share(0.3),
            machine_off_ms: 1 + share(26.0 * HOUR_MS) as u64,
            database_off_ms: 1 + share(HOUR_MS / 6.0) as u64,
            provider_lies: share(0.4),
            gremlin_every_ms: 1 + (share(1.0) * 30_000.0) as u64 + 4_000,
        };
        match mutant {
            // Detected only if a charge is lost on its way, then the process crashes, and then the
            // provider fails.
            Some(Mutant::ReaperChargesBlindly) => {
                Self { crash: 0.01, provider_down: 0.7, provider_lost: 0.3, ..drawn }
            }
            Some(Mutant::GoesByItsOwnClock | Mutant::DeadlineByItsOwnClock) => {
                Self { machine_off_ms: 26 * HOUR_MS as u64, ..drawn }
            }
            Some(Mutant::Takes503ForNo) => Self { provider_lies: 0.4, ..drawn },
            _ => drawn,
        }
    }
}
