//! Dashboards, alarms and the profile that shows them name only what there is.

mod alarms;
mod containers;
mod dashboards;
mod metrics;
