//! Runs the `saga` command, for operators: one file a subcommand in `cmd`, shared code beside it.

pub mod cli;
mod cmd;
mod compose;
pub mod dlq;
mod doctor;
mod progress;
mod replay;
mod topology;
mod urls;
mod welcome;
pub mod why;
