//! Holds what the commands `saga` and `lab` share: settings, the client of the order service,
//! output, and how a whole system is started and verified.

pub mod api;
pub mod child_process;
pub mod colour;
pub mod definitions;
pub mod disk;
pub mod endpoints;
pub mod home;
pub mod keys;
pub mod output;
pub mod primary;
mod say;
pub mod scenario;
pub mod service;
pub mod settings;
pub mod stop;
pub mod system;
pub mod target;
pub mod textfile;
pub mod verdict;
pub mod verify;
