//! The `saga` command: one file a subcommand in `cmd`, and what they share beside it.

pub mod api;
pub mod bench;
pub mod chaos;
pub mod cmd;
pub mod colour;
pub mod compose;
pub mod disk;
pub mod dlq;
pub mod draw;
pub mod fill;
pub mod home;
pub mod html;
pub mod load;
pub mod part;
pub mod plot;
pub mod progress;
mod say;
pub mod scenario;
pub mod service;
pub mod settings;
pub mod snapshot;
pub mod stop;
pub mod svg;
pub mod usage;
pub mod verify;
pub mod welcome;
pub mod why;
