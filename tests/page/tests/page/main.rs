//! The live page in a real browser, on real services.

mod demo;
mod looks;
mod playing;
mod reading;
mod scenarios;
mod signing_in;
mod troubles;
