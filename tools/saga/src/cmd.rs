//! The subcommands.

pub mod bench;
pub mod chaos;
pub mod demo;
pub mod dlq;
pub mod docker;
pub mod down;
pub mod fill;
pub mod load;
pub mod logs;
pub mod order;
pub mod status;
pub mod topology;
pub mod up;
pub mod verify;
pub mod why;
pub mod with_servers;
