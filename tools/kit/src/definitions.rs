//! Writes a broker's definitions in RabbitMQ's import format.

use messaging::Topology;
use serde_json::Value;

use crate::settings::{AddOn, SERVICES, Settings};

/// Exchanges, queues, bindings and policies.
pub fn topology(settings: &Settings, vhost: &str) -> Value {
    topology_with(settings, &settings.add_ons, vhost)
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
    logins_with(&settings.add_ons, vhost)
}

/// The same with these services beside the saga.
pub fn logins_with(add_ons: &[AddOn<'_>], vhost: &str) -> Value {
    let all: Vec<_> = SERVICES.into_iter().chain(add_ons.iter().map(|(name, _)| *name)).collect();
    messaging::users(&all, vhost, str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::Step;

    #[test]
    fn a_service_beside_the_saga_has_queues_and_a_user_of_its_own() {
        let step = |hears| Step { service: "mail", hears, may_say: &[], compensates: false };
        let beside = [step("payment.approved"), step("shipping.scheduled")];
        let settings = Settings::with(&beside, |_| None).unwrap();
        let database = settings.databases.last().unwrap();
        assert_eq!(
            (database.service, database.port, database.variable),
            ("mail", 5437, "MAIL_DB_PORT")
        );
        let topology = topology(&settings, "/");
        let queues = topology["queues"].as_array().unwrap().iter();
        let own: Vec<_> = queues.filter_map(|it| it["name"].as_str()).collect();
        for queue in ["mail.payment-approved", "mail.shipping-scheduled.dlq", "mail.retry.5s"] {
            assert!(own.contains(&queue), "{queue}: {own:?}");
        }
        let logins = logins(&settings, "/");
        let user = |it: &Value| it["name"] == "mail" || it["user"] == "mail";
        for kind in ["users", "permissions"] {
            assert!(logins[kind].as_array().unwrap().iter().any(user), "{logins}");
        }
        let alone = topology_with(&settings, &[], "/");
        assert_eq!(alone, super::topology(&Settings::with(&[], |_| None).unwrap(), "/"));
    }
}
