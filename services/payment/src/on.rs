//! Holds one file per reaction.

mod inventory_failed;
mod inventory_released;
mod order_cancel_requested;
mod order_created;

#[cfg(test)]
pub mod examples;
