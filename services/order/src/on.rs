//! The reactions of order: each records the event and publishes nothing.

mod inventory_failed;
mod inventory_reserved;
mod payment_approved;
mod payment_failed;
mod payment_reversed;
mod shipping_failed;
mod shipping_scheduled;

#[cfg(test)]
pub mod testing;
