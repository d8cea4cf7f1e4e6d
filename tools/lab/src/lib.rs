//! Runs the `lab` command: loads, measures and breaks a system, and starts servers for tests.

pub mod alarms;
mod bench;
pub mod chaos;
pub mod cli;
mod cmd;
mod document;
pub mod fill;
mod load;
pub mod otlp;
mod peers;
mod plot;
mod usage;
