//! Holds one file per reaction.

mod payment_approved;
mod shipping_failed;
