//! Says what a broker is to have, as RabbitMQ imports it.

use messaging::Topology;
use serde_json::Value;

use crate::settings::{SERVICES, Settings};

/// Exchanges, queues, bindings and policies.
pub fn topology(settings: &Settings, vhost: &str) -> Value {
    Topology::whole(&settings.ladder).with(settings.queue_type).definitions(vhost)
}

/// The services' users, and what each may do.
pub fn logins(vhost: &str) -> Value {
    messaging::users(&SERVICES, vhost, str::to_owned)
}
