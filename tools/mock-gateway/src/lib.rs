//! What the provider and those who test against it share: how its answers can lie.

pub mod lies;
