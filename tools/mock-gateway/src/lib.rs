//! Shares the kinds of wrong answers between the provider and its tests.

pub mod lies;
