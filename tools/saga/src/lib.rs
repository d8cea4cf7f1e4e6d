//! Runs the `saga` command, for operators: one file a subcommand in `cmd`, shared code beside it.

mod actor;
mod beside;
pub mod cli;
mod cmd;
mod compose;
mod database;
pub mod dlq;
mod doctor;
pub mod new;
mod progress;
mod replay;
mod topology;
mod urls;
mod welcome;
pub mod why;
