//! One file a reaction.

mod payment_approved;
