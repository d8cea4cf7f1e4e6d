//! In-memory broker and ledger for tests, the model and the simulation, with the same semantics:
//! redelivery, retry tiers, dead letters, confirms; atomic transactions.

mod broker;
mod ledger;

pub use broker::MemoryBroker;
pub use ledger::{MemoryLedger, MemoryTx};
