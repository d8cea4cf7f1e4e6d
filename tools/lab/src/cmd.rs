//! The subcommands.

pub mod alarms;
pub mod bench;
pub mod chaos;
pub mod fill;
pub mod load;
pub mod peers;
pub mod with_servers;
