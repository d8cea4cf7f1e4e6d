//! The `saga` command: one file a subcommand in `cmd`.

pub mod cmd;
