//! Shares the kinds of wrong answers, and https, between the provider and the tests.

pub mod lies;
pub mod tls;
