//! Holds one file per reaction.

mod inventory_reserved;
mod order_cancel_requested;
