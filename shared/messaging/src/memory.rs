//! In-memory broker and message store for tests, the model and the simulation, with the same
//! semantics: redelivery, retry tiers, dead letters, confirms; atomic transactions.

mod broker;
mod message_store;

pub use broker::MemoryBroker;
pub use message_store::{MemoryMessageStore, MemoryTx};
