//! Dashboards, alarms and their Compose profile name only what exists.

mod alarms;
mod containers;
mod dashboards;
mod metrics;
mod secrets;
mod starting;
