//! A model checker for the saga: takes the shipped decisions and the shipped `SAGA`, and explores
//! every order in which messages, provider, customer and clock can act on them.
//!
//! A message may be delivered at any moment after its publication, and again at any later moment;
//! it may become a dead letter and be replayed. Outbox and queue are one place here, since both may
//! keep a message for any time. The services determine which decisions are possible; how they are
//! saved is not explored (the consumer loop has its own tests).

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

/// The time of every event, in milliseconds: the order of events is explored, not their times.
const NOW: u64 = 1_800_000_000_000;

/// Possible actions besides deliveries in any order.
#[derive(Clone, Copy, Debug)]
pub struct Switches {
    pub orders: usize,
    /// The provider is down, gives no answer, answers too late, or refuses; payment crashes.
    pub faults: bool,
    /// One message that compensates nothing may become a dead letter, and be replayed.
    pub dead_letters: bool,
    /// An order's deadline may cancel it, not only the customer.
    pub deadline: bool,
    /// The idempotency tables are kept; without them, each reaction has to detect a repetition
    /// itself.
    pub tables: bool,
    pub broken: Option<Break>,
}
