use super::*;

fn with(set: &[(&str, &str)]) -> Result<Settings> {
    Settings::with(&[], |name| {
        set.iter().find(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned())
    })
}

#[test]
fn unset_variables_have_the_values_of_the_contract() {
    let settings = with(&[("RABBITMQ_USER", "")]).unwrap();
    assert_eq!(settings.order_url(), "http://127.0.0.1:3001");
    assert_eq!(settings.amqp_url(), "amqp://admin:admin@127.0.0.1:5672/%2f");
    assert_eq!(settings.management_url(), "http://127.0.0.1:15672");
    let database = settings.database("payment").unwrap();
    assert_eq!(database.url(), "postgres://payments:payments@127.0.0.1:5434/payments");
    assert!(settings.home.is_absolute() && settings.home.ends_with(".run"));
}

#[test]
fn a_cluster_has_further_addresses() {
    let settings = with(&[("CLUSTER", "3"), ("ORDER_DB_STANDBY_PORT", "7")]).unwrap();
    let order = settings.service_database_url(settings.database("order").unwrap());
    let hosts = "127.0.0.1:5433,127.0.0.1:7";
    let expected = "/orders?target_session_attrs=read-write";
    assert_eq!(order, format!("postgres://orders:orders@{hosts}{expected}"));
    assert_eq!(settings.service_amqp_urls("order").len(), 3);
    assert_eq!(settings.ports().len(), 17);
    assert_eq!(settings.container_ports().len(), 15);
    let said = with(&[("CLUSTER", "2")]).err().unwrap().to_string();
    assert!(said.contains("it is 3"), "{said}");
    assert_eq!(with(&[]).unwrap().ports().len(), 7);
}

#[test]
fn encrypted_links_have_certificates_instead_of_passwords() {
    let settings = with(&[("TLS", "1"), ("SAGA_HOME", "/a b")]).unwrap();
    let dir = "/a%20b/certificates";
    let own = format!("certfile={dir}/order.pem&keyfile={dir}/order.key");
    let amqp = format!("amqps://order@127.0.0.1:5672/%2f?cacertfile={dir}/ca.pem&{own}");
    let amqp = format!("{amqp}&auth_mechanism=external");
    assert_eq!(settings.service_amqp_urls("order"), [amqp]);
    let own = format!("sslcert={dir}/orders.pem&sslkey={dir}/orders.key");
    let database = format!("verify-full&sslrootcert={dir}/ca.pem&{own}");
    let database = format!("postgres://orders:orders@127.0.0.1:5433/orders?sslmode={database}");
    assert_eq!(settings.service_database_url(settings.database("order").unwrap()), database);
}

#[test]
fn a_password_may_hold_any_character() {
    let settings = with(&[("RABBITMQ_PASSWORD", "a/b@c é")]).unwrap();
    assert_eq!(settings.amqp_url(), "amqp://admin:a%2Fb%40c%20%C3%A9@127.0.0.1:5672/%2f");
}

#[test]
fn a_wrong_port_and_a_port_used_twice_are_named() {
    let error = |set: &[(&str, &str)]| with(set).err().unwrap().to_string();
    for wrong in ["http", "0", "65536", "-1"] {
        let said = error(&[("ORDER_DB_PORT", wrong)]);
        assert_eq!(said, format!("ORDER_DB_PORT={wrong} is not a port: 1 to 65535"));
    }
    assert!(error(&[("GATEWAY", "https")]).contains("it is simulated or http"));
    assert!(error(&[("DEMO", "perhaps")]).contains("it is 1 or 0"));
    let said = error(&[("OBSERVE", "1"), ("GRAFANA_PORT", "3001")]);
    assert_eq!(said, "ORDER_HTTP_PORT and GRAFANA_PORT are both 3001: change one");
    let said = error(&[("ORDER_DB_PORT", "5672")]);
    assert_eq!(said, "RABBITMQ_PORT and ORDER_DB_PORT are both 5672: change one");
}
