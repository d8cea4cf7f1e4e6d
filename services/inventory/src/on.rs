//! One file a reaction.

mod payment_approved;
mod shipping_failed;
