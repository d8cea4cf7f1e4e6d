//! The same meaning without servers, for tests, the model and the simulation: redelivery, retry
//! rungs, dead letters, confirms; transactions that happen as a whole or not at all.

mod broker;
mod ledger;

pub use broker::MemoryBroker;
pub use ledger::{MemoryLedger, MemoryTx};
