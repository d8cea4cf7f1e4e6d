//! The four services' stores as maps: they do what each `store.rs` does in SQL.

pub mod inventory;
pub mod order;
pub mod payment;
pub mod shipping;
