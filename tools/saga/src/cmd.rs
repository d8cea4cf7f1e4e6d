//! The subcommands.

pub mod with_servers;
