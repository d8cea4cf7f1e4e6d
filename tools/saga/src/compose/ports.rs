//! Tells which container listens on a port.

use kit::service::MOCK_GATEWAY;
use kit::settings::{Listener, Settings};

/// The container that listens on the port that this variable sets.
pub fn container_of(settings: &Settings, variable: &str) -> String {
    let standby = settings.cluster.standbys.iter().position(|(_, name)| *name == variable);
    let nodes = (2..).zip(&settings.cluster.nodes);
    let node = |listeners: &[Listener; 2]| listeners.iter().any(|(_, name)| *name == variable);
    let node = nodes.into_iter().find_map(|(number, listeners)| node(listeners).then_some(number));
    match settings.databases.iter().find(|database| database.variable == variable) {
        Some(database) => format!("{}-db", database.service),
        None if variable == "ORDER_HTTP_PORT" && settings.is_cluster => "haproxy".to_owned(),
        None if variable == "ORDER_HTTP_PORT" => "order".to_owned(),
        None if variable == "MOCK_GATEWAY_PORT" => MOCK_GATEWAY.to_owned(),
        None if variable == "OTLP_PORT" => "collector".to_owned(),
        None if settings.observers.iter().any(|(_, observer)| *observer == variable) => {
            variable.trim_end_matches("_PORT").to_lowercase()
        }
        None => match (standby, node) {
            (Some(place), _) => format!("{}-db-2", settings.databases[place].service),
            (None, Some(number)) => format!("rabbitmq-{number}"),
            (None, None) => "rabbitmq".to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::Step;

    #[test]
    fn each_port_is_of_one_container() {
        let mail = Step { service: "mail", hears: "", may_say: &[], compensates: false };
        let names = |size: &str, beside: &[Step]| {
            let variable = |name: &str| (name == "CLUSTER").then(|| size.to_owned());
            let settings = Settings::with(beside, variable);
            let settings = settings.unwrap();
            let ports = settings.container_ports().into_iter();
            let mut names: Vec<_> = ports.map(|(_, name)| container_of(&settings, name)).collect();
            names.sort();
            names.dedup();
            names.join(" ")
        };
        let one = "inventory-db order order-db payment-db rabbitmq shipping-db";
        assert_eq!(names("1", &[]), one);
        assert!(names("3", &[mail]).contains("inventory-db-2 mail-db order-db"));
        let three = "haproxy inventory-db inventory-db-2 order-db order-db-2 payment-db \
                     payment-db-2 rabbitmq rabbitmq-2 rabbitmq-3 shipping-db shipping-db-2";
        assert_eq!(names("3", &[]), three);
    }
}
