//! The subcommands.

pub mod completions;
pub mod demo;
pub mod dlq;
pub mod docker;
pub mod doctor;
pub mod down;
pub mod logs;
pub mod order;
pub mod status;
pub mod tail;
pub mod topology;
pub mod up;
pub mod urls;
pub mod verify;
pub mod why;
