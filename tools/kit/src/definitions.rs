//! Writes a broker's definitions in RabbitMQ's import format.

use messaging::Topology;
use serde_json::Value;

use crate::settings::{SERVICES, Settings};

/// Exchanges, queues, bindings and policies.
pub fn topology(settings: &Settings, vhost: &str) -> Value {
    Topology::whole(&settings.schedule).with(settings.queue_type).definitions(vhost)
}

/// The services' users, with their permissions.
pub fn logins(vhost: &str) -> Value {
    messaging::users(&SERVICES, vhost, str::to_owned)
}
