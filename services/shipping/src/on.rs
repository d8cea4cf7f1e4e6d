//! One file a reaction.

mod inventory_reserved;
mod order_cancel_requested;
