//! The job that checks the invariants, and an operator on a machine of his own, can log in
//! everywhere: endpoints, certificates and users agree.

use crate::broker::{imported, secrets};
use kubernetes::{
    Kustomization, OPERATORS, VERIFY, Whole, complaints, documents, items, of_kind, services,
    sorted, template, text,
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt, path::Path, process::Command};
use tidy::root;

/// Answers with what was asked for: `order-db-app.password`.
const KUBECTL: &str = r#"#!/bin/sh
key=${7#*.data \"}
printf '%s' "$5.${key%%\"*}"
"#;

/// What the script prints.
fn places(to: &str, scratch: &Path) -> String {
    let kubectl = scratch.join("kubectl");
    fs::write(&kubectl, KUBECTL).unwrap();
    fs::set_permissions(&kubectl, PermissionsExt::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", scratch.display(), std::env::var("PATH").unwrap());
    let script = root().join(OPERATORS).join("places.sh");
    let run = Command::new("sh").arg(script).arg(to).env("PATH", path).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    String::from_utf8(run.stdout).unwrap()
}

/// The files that the URLs of an endpoints file name.
fn files(endpoints: &Value) -> Vec<String> {
    let databases = endpoints["databases"].as_object().unwrap();
    assert_eq!(sorted(databases.keys()), services());
    let urls = databases.values().chain([&endpoints["amqp_url"]]).map(text);
    let parameters = urls.flat_map(|url| url.split(['?', '&']).skip(1));
    let values = parameters.filter_map(|it| Some(it.split_once('=')?.1.to_owned()));
    values.filter(|it| it.starts_with('/')).collect()
}

#[test]
pub fn the_job_has_every_file_that_its_endpoints_name() {
    let scratch = tempfile::tempdir().unwrap();
    let secret = documents(&places("secret", scratch.path())).remove(0);
    assert!(complaints(&secret, Whole::Yes).is_empty());
    let endpoints = text(&secret["stringData"]["places.json"]);
    let endpoints: Value = serde_json::from_str(endpoints).unwrap();

    let (_, job) = of_kind(VERIFY, "CronJob").remove(0);
    let pod = &template(&job)["spec"];
    let [container] = items(&pod["containers"]) else { panic!("one container") };
    let [mount] = items(&container["volumeMounts"]) else { panic!("one volume") };
    let mut mounted = BTreeMap::new();
    for source in items(&pod["volumes"][0]["projected"]["sources"]) {
        let secret = text(&source["secret"]["name"]);
        for item in items(&source["secret"]["items"]) {
            let path = format!("{}/{}", text(&mount["mountPath"]), text(&item["path"]));
            mounted.insert(path, (secret.to_owned(), text(&item["key"]).to_owned()));
        }
    }
    let file = items(&container["args"]).last().map(text).unwrap();
    assert_eq!(mounted.remove(file).unwrap().0, text(&secret["metadata"]["name"]));
    assert_eq!(sorted(mounted.keys()), sorted(files(&endpoints)));

    for service in services() {
        let url = text(&endpoints["databases"][service]);
        let login = format!("{service}-db-app.username:{service}-db-app.password");
        let begin = format!("postgres://{login}@{service}-db-rw:5432/{service}-db-app.dbname?");
        assert!(url.starts_with(&begin) && url.contains("sslmode=verify-full"), "{url}");
        for (name, key) in [("-ca.crt", "ca.crt"), (".crt", "tls.crt"), (".key", "tls.key")] {
            let path = format!("{}/{service}{name}", text(&mount["mountPath"]));
            assert_eq!(mounted[&path], (format!("{service}-db-client"), key.to_owned()));
        }
    }
    let amqp = text(&endpoints["amqp_url"]);
    assert!(amqp.starts_with("amqps://admin@rabbitmq-nodes:5671/%2f?"), "{amqp}");
    messaging::RabbitMq::new(amqp, 1).expect("it can be read");
    assert_eq!(endpoints["management_password"], "rabbitmq-admin.password");
}

/// RabbitMQ's AMQP refuses a client without a certificate.
#[test]
fn the_operator_has_a_certificate_of_its_users_name() {
    let admin = imported(&secrets(), "admin.json");
    let certificates = of_kind(OPERATORS, "Certificate");
    let its = certificates.iter().find(|(name, _)| name == "operator-amqp-client");
    let its = &its.expect("it is there").1["spec"];
    assert_eq!(its["commonName"], admin["users"][0]["name"]);
    assert_eq!(its["usages"], json!(["digital signature", "client auth"]));
}

#[test]
fn on_another_machine_the_endpoints_are_port_forwards_and_the_files_are_there() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("places");
    let printed = places(folder.to_str().unwrap(), scratch.path());
    let endpoints = fs::read_to_string(folder.join("places.json")).unwrap();
    let endpoints: Value = serde_json::from_str(&endpoints).unwrap();
    for file in files(&endpoints) {
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{file} is readable for others");
    }
    for service in services() {
        let url = text(&endpoints["databases"][service]);
        let (_, rest) = url.split_once("@127.0.0.1:").unwrap();
        let (port, _) = rest.split_once('/').unwrap();
        let forward = format!("service/{service}-db-rw {port}:5432 &\n");
        assert!(url.contains("sslmode=verify-ca&") && printed.contains(&forward), "{printed}");
    }
    let amqp = text(&endpoints["amqp_url"]);
    assert!(amqp.ends_with("&server_name_indication=rabbitmq"), "{amqp}");
    messaging::RabbitMq::new(amqp, 1).expect("it can be read");
}

#[test]
fn the_job_runs_the_command_of_the_image_of_compose() {
    let (_, job) = of_kind(VERIFY, "CronJob").remove(0);
    let container = &template(&job)["spec"]["containers"][0];
    let [image] = &Kustomization::read(VERIFY).images[..] else { panic!("one image") };
    assert_eq!(container["image"], image.name);
    let compose = tidy::read("docker-compose.yml");
    let project = compose.lines().find_map(|line| line.strip_prefix("name: ")).expect("a name");
    assert_eq!(image.name, format!("{project}-saga"));
    assert_eq!(container["command"], Value::Null, "the image's own: it has no shell");
    let [verify, since, places, _] = items(&container["args"]) else { panic!("four") };
    assert_eq!([verify, since, places], ["verify", "--since-last", "--places"]);
    assert_eq!(job["spec"]["concurrencyPolicy"], "Forbid");
}
