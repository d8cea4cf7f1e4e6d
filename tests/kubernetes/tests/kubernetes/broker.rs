//! RabbitMQ's users and addresses, as the script prints them, fit each other and everything else.

use events::SERVICES;
use kubernetes::{OPERATORS, Whole, complaints, documents, of_kind, text};
use serde_json::{Value, json};
use std::{collections::BTreeMap, process::Command};
use tidy::{read, root};

/// What the script prints, by the Secrets' names.
fn secrets() -> BTreeMap<String, Value> {
    let script = root().join(OPERATORS).join("secrets.sh");
    let run = Command::new("sh").arg(script).output().expect("there is a shell");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let printed = String::from_utf8(run.stdout).expect("it prints text");
    let secrets = documents(&printed).into_iter();
    let named = secrets.map(|secret| {
        let found = complaints(&secret, Whole::Yes);
        assert!(found.is_empty(), "{found:#?}");
        (text(&secret["metadata"]["name"]).to_owned(), secret["stringData"].clone())
    });
    named.collect()
}

fn imported(secrets: &BTreeMap<String, Value>) -> Value {
    serde_json::from_str(text(&secrets["rabbitmq-users"]["users.json"])).expect("it is JSON")
}

#[test]
fn each_service_has_a_user_of_its_own_with_the_password_that_its_address_has() {
    let secrets = secrets();
    let users = imported(&secrets)["users"].as_array().cloned().expect("there are users");
    let names: Vec<_> = users.iter().map(|user| text(&user["name"])).collect();
    assert_eq!(names, [&["admin"], SERVICES].concat());
    let passwords: Vec<_> = users.iter().map(|user| text(&user["password"])).collect();
    for (at, password) in passwords.iter().enumerate() {
        assert!(password.len() >= 32 && !passwords[..at].contains(password), "{passwords:?}");
    }
    assert_eq!(passwords[0], text(&secrets["rabbitmq-admin"]["password"]));
    let (broker, _) = of_kind(OPERATORS, "RabbitmqCluster").remove(0);
    for (service, password) in SERVICES.iter().zip(&passwords[1..]) {
        let address = text(&secrets[&format!("{service}-amqp")]["uri"]);
        assert_eq!(address, format!("amqp://{service}:{password}@{broker}:5672/%2f"));
    }
}

#[test]
fn every_user_is_permitted_something_and_only_admin_is_an_administrator() {
    let users = imported(&secrets());
    let topology: Value = serde_json::from_str(&read("deploy/rabbitmq/topology.json")).unwrap();
    let permitted = [&users["permissions"], &topology["permissions"]];
    for user in users["users"].as_array().expect("there are users") {
        let mut permitted = permitted.iter().filter_map(|it| it.as_array()).flatten();
        assert!(permitted.any(|it| it["user"] == user["name"]), "{user} may do nothing");
        assert_eq!(user["tags"] == "administrator", user["name"] == "admin");
    }
}

#[test]
fn the_broker_imports_the_users_and_the_topology() {
    let secrets = secrets();
    let (_, broker) = of_kind(OPERATORS, "RabbitmqCluster").remove(0);
    let pod = &broker["spec"]["override"]["statefulSet"]["spec"]["template"]["spec"];
    let folder = "definitions.local.path = /etc/rabbitmq/definitions\n";
    assert!(text(&broker["spec"]["rabbitmq"]["additionalConfig"]).contains(folder));
    let mounts = pod["containers"][0]["volumeMounts"].as_array().expect("there are mounts");
    let mounted: Vec<_> = mounts.iter().map(|it| (&it["mountPath"], &it["subPath"])).collect();
    assert_eq!(mounted[0].0, "/etc/rabbitmq/definitions/1-users.json");
    assert_eq!(mounted[1].0, "/etc/rabbitmq/definitions/2-topology.json");
    let users = text(&pod["volumes"][0]["secret"]["secretName"]);
    assert!(secrets[users].get(text(mounted[0].1)).is_some(), "{users} has no such key");

    let generated = kubernetes::Kustomization::read("deploy/rabbitmq").config_map_generator;
    assert_eq!(generated[0].name, text(&pod["volumes"][1]["configMap"]["name"]));
    assert_eq!(generated[0].files, [text(mounted[1].1)]);
}

#[test]
fn the_brokers_nodes_are_kept_apart() {
    let (name, broker) = of_kind(OPERATORS, "RabbitmqCluster").remove(0);
    let pod = &broker["spec"]["override"]["statefulSet"]["spec"]["template"]["spec"];
    let apart = &pod["topologySpreadConstraints"][0]["labelSelector"];
    assert_eq!(apart["matchLabels"], json!({ "app.kubernetes.io/name": name }));
}

#[test]
fn servers_are_of_the_version_that_compose_has() {
    let compose = read("docker-compose.yml");
    let (_, broker) = of_kind(OPERATORS, "RabbitmqCluster").remove(0);
    let image = format!("    image: {}\n", text(&broker["spec"]["image"]));
    assert!(compose.contains(&image), "docker-compose.yml has no{image}");

    let common = documents(&read(&format!("{OPERATORS}/every-database.yaml"))).remove(0);
    let (_, version) = text(&common["spec"]["imageName"]).rsplit_once(':').expect("a version");
    assert!(compose.contains(&format!("  image: postgres:{version}\n")), "not {version}");
}

#[test]
fn every_service_has_its_database_as_compose_has_it() {
    let clusters = of_kind(OPERATORS, "Cluster");
    let names: Vec<_> = clusters.iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(names, SERVICES.iter().map(|it| format!("{it}-db")).collect::<Vec<_>>());
    let compose = read("docker-compose.yml");
    for (name, cluster) in clusters {
        let made = &cluster["spec"]["bootstrap"]["initdb"];
        assert_eq!(made["database"], made["owner"]);
        let address = format!("@{name}:5432/{}\n", text(&made["database"]));
        assert!(compose.contains(&address), "docker-compose.yml has no {address}");
    }
}
