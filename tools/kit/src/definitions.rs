//! Writes a broker's definitions in RabbitMQ's import format.

use messaging::Topology;
use serde_json::Value;

use crate::settings::{AddOn, SERVICES, Settings};

/// Exchanges, queues, bindings and policies.
pub fn topology(settings: &Settings, vhost: &str) -> Value {
    topology_with(settings, &settings.add_ons(), vhost)
}

/// The same with these services beside the saga.
pub fn topology_with(settings: &Settings, add_ons: &[AddOn<'_>], vhost: &str) -> Value {
    let schedule = &settings.schedule;
    let whole = add_ons
        .iter()
        .fold(Topology::whole(schedule), |all, (name, hears)| all.and(name, hears, schedule));
    whole.with(settings.queue_type).definitions(vhost)
}

/// The services' users, with their permissions.
pub fn logins(settings: &Settings, vhost: &str) -> Value {
    logins_with(&settings.add_ons(), vhost)
}

/// The same with these services beside the saga.
pub fn logins_with(add_ons: &[AddOn<'_>], vhost: &str) -> Value {
    let all: Vec<_> = SERVICES.into_iter().chain(add_ons.iter().map(|(name, _)| *name)).collect();
    messaging::users(&all, vhost, str::to_owned)
}
