//! Every link is encrypted: certificates, their users, servers and the services' files agree.

use crate::broker::secrets;
use kubernetes::{
    BASE, OPERATORS, container, document, items, of_kind, patch_of_all, services, text,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// By their Secrets' names.
fn certificates() -> BTreeMap<String, Value> {
    let all = of_kind(OPERATORS, "Certificate").into_iter();
    all.map(|(name, certificate)| {
        let spec = certificate["spec"].clone();
        assert_eq!(text(&spec["secretName"]), name);
        (name, spec)
    })
    .collect()
}

fn is_for(certificate: &Value, usage: &str) -> bool {
    let usages = &certificate["usages"];
    *usages == json!(["digital signature", usage])
}

/// The user that logs in by this Secret's certificate.
fn user<'a>(all: &'a BTreeMap<String, Value>, secret: &str) -> &'a str {
    assert!(is_for(&all[secret], "client auth"), "{secret}");
    text(&all[secret]["commonName"])
}

/// Where a service's files lie, by their Secret and key.
fn files(service: &str) -> BTreeMap<String, (String, String)> {
    let patch = patch_of_all();
    let folder = text(&container(&patch)["volumeMounts"][0]["mountPath"]);
    let deployments = of_kind(BASE, "Deployment");
    let (_, deployment) =
        deployments.iter().find(|(name, _)| name == service).expect("it is there");
    let volume = &deployment["spec"]["template"]["spec"]["volumes"][0];
    let mut files = BTreeMap::new();
    for source in items(&volume["projected"]["sources"]) {
        let (secret, is_optional) = (&source["secret"]["name"], &source["secret"]["optional"]);
        for item in items(&source["secret"]["items"]) {
            // Servers of one's own may have none.
            assert_eq!(*is_optional == json!(true), item["key"] != "uri", "{source}");
            let path = format!("{folder}/{}", text(&item["path"]));
            let from = (text(secret).to_owned(), text(&item["key"]).to_owned());
            assert_eq!(files.insert(path, from), None);
        }
    }
    files
}

#[test]
pub fn one_authority_issues_all() {
    let issuers = of_kind(OPERATORS, "Issuer");
    let [(own, _), (authority, issuer)] = issuers.as_slice() else { panic!("two are expected") };
    let certificates = certificates();
    assert_eq!(issuer["spec"]["ca"]["secretName"], *authority);
    for (name, certificate) in &certificates {
        let is_root = name == authority;
        assert_eq!(certificate["isCA"] == json!(true), is_root, "{name}");
        let issuer = if is_root { own } else { authority };
        assert_eq!(certificate["issuerRef"], json!({ "name": issuer, "kind": "Issuer" }));
    }
    assert_eq!(certificates.len(), 3 + 4 * services().len());
}

#[test]
pub fn rabbitmq_takes_a_certificate_of_the_services_name_and_no_password() {
    let (certificates, secrets) = (certificates(), secrets());
    let (name, broker) = of_kind(OPERATORS, "RabbitmqCluster").remove(0);
    let tls = &broker["spec"]["tls"];
    let server = &certificates[text(&tls["secretName"])];
    assert_eq!(tls["secretName"], tls["caSecretName"]);
    let host = format!("{name}-nodes");
    assert!(is_for(server, "server auth") && items(&server["dnsNames"]).contains(&json!(host)));
    let told = &broker["spec"]["rabbitmq"];
    assert_eq!(told["additionalPlugins"], json!(["rabbitmq_auth_mechanism_ssl"]));
    let settings = text(&told["additionalConfig"]);
    for setting in [
        "ssl_options.fail_if_no_peer_cert = true",
        "auth_mechanisms.1 = EXTERNAL",
        "ssl_cert_login_from = common_name",
    ] {
        assert!(settings.lines().any(|line| line == setting), "{settings}");
    }
    assert_eq!(settings.matches("auth_mechanisms.").count(), 1);
    for service in services() {
        let secret = format!("{service}-amqp-client");
        assert_eq!(user(&certificates, &secret), service);
        let uri = text(&secrets[&format!("{service}-amqp")]["uri"]);
        let (place, parameters) = uri.split_once('?').expect("it has parameters");
        assert_eq!(place, format!("amqps://{service}@{host}:5671/%2f"));
        let files = files(service);
        let file = |path: &str| files[path].clone();
        let told: Vec<_> = parameters.split('&').filter_map(|it| it.split_once('=')).collect();
        let [(ca, ca_file), (own, own_file), (key, key_file), how] = told[..] else {
            panic!("{parameters}")
        };
        assert_eq!([ca, own, key], ["cacertfile", "certfile", "keyfile"]);
        assert_eq!(how, ("auth_mechanism", "external"));
        assert_eq!(file(ca_file), (secret.clone(), "ca.crt".into()));
        assert_eq!(file(own_file), (secret.clone(), "tls.crt".into()));
        assert_eq!(file(key_file), (secret, "tls.key".into()));
        // What is not read is not refused either.
        messaging::RabbitMq::new(uri, 1).expect("the service can read it");
    }
}

#[test]
pub fn postgres_takes_a_certificate_of_the_owners_name_and_no_plain_connection() {
    let certificates = certificates();
    let common = document(&format!("{OPERATORS}/every-database.yaml"));
    let access =
        ["hostssl all all all scram-sha-256 clientcert=verify-full", "host all all all reject"];
    assert_eq!(common["spec"]["postgresql"]["pg_hba"], json!(access));
    let patch = document(&format!("{OPERATORS}/every-link.yaml"));
    let told = items(&container(&patch)["env"]).iter();
    let told: BTreeMap<_, _> =
        told.map(|it| (text(&it["name"]), text(&it["value"]).to_owned())).collect();
    assert_eq!(told["PGSSLMODE"], "verify-full");
    for (name, cluster) in of_kind(OPERATORS, "Cluster") {
        let own = &cluster["spec"]["certificates"];
        assert_eq!(own["serverCASecret"], own["serverTLSSecret"]);
        assert_eq!(own["clientCASecret"], own["replicationTLSSecret"]);
        let server = &certificates[text(&own["serverTLSSecret"])];
        let host = json!(format!("{name}-rw"));
        assert!(is_for(server, "server auth") && items(&server["dnsNames"]).contains(&host));
        assert_eq!(user(&certificates, text(&own["replicationTLSSecret"])), "streaming_replica");
        for secret in [&own["serverTLSSecret"], &own["replicationTLSSecret"]] {
            let labels = &certificates[text(secret)]["secretTemplate"]["labels"];
            assert_eq!(*labels, json!({ "cnpg.io/reload": "" }), "{secret}");
        }
        let secret = format!("{name}-client");
        let owner = &cluster["spec"]["bootstrap"]["initdb"]["owner"];
        assert_eq!(user(&certificates, &secret), text(owner));
        let files = files(name.strip_suffix("-db").expect("a service's"));
        for (variable, key) in
            [("PGSSLROOTCERT", "ca.crt"), ("PGSSLCERT", "tls.crt"), ("PGSSLKEY", "tls.key")]
        {
            assert_eq!(files[&told[variable]], (secret.clone(), key.to_owned()), "{variable}");
        }
    }
}
