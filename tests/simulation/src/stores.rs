//! The four services' states as maps: what their `store.rs` do in SQL.

pub mod inventory;
pub mod order;
pub mod payment;
pub mod shipping;
