//! A model checker for the saga: it takes the shipped decisions and the shipped `SAGA`, and tries
//! every order in which messages, provider, customer and clock can act on them.
//!
//! A message is delivered at any moment once it is said, and again at any later moment; it may be
//! put aside as a dead letter and replayed. The outbox and the queue behind it are one place here,
//! since both keep a message for as long as they like. Which decisions can be asked is up to the
//! services; how they are saved is not explored (the loop has its own tests).

mod breaks;
mod cast;
mod home;
mod moment;
mod pool;
mod provider;
mod snapshot;
mod state;
mod steps;
mod stock;
mod telling;

pub use breaks::Break;
pub use moment::{ALWAYS, IN_THE_END, NO_DEAD_END, PROMISES};
pub use state::State;
pub use steps::{Action, Saga};

/// When everything happens, in milliseconds: the order of events is explored, not their times.
const NOW: u64 = 1_800_000_000_000;

/// What may happen besides messages being delivered in any order.
#[derive(Clone, Copy, Debug)]
pub struct Switches {
    pub orders: usize,
    /// The provider is away, keeps silent, answers too late, or refuses; payment crashes.
    pub faults: bool,
    /// One message that compensates nothing may become a dead letter, and be replayed.
    pub dead_letters: bool,
    /// Besides the customer, an order's deadline cancels it.
    pub deadline: bool,
    /// The idempotency tables are kept; without them, each reaction has to see for itself.
    pub tables: bool,
    pub broken: Option<Break>,
}
