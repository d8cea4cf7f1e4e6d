//! Order speaks HTTPS, and payment knows its provider: variables, files, Secrets and the
//! certificate agree.

use clap::{Args, Command};
use kubernetes::{
    BASE, EDGES, Kustomization, OPERATORS, Target, container, document, items, merged, of_kind,
    patch_of_all, text,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tidy::read;

/// A service's Deployment, as it is applied, and the variables that this component adds.
fn patched(service: &str) -> (Value, BTreeMap<String, String>) {
    let patch = document(&format!("{EDGES}/{service}.yaml"));
    let deployments = of_kind(BASE, "Deployment");
    let (name, own) = deployments.iter().find(|(name, _)| name == service).expect("it is there");
    assert_eq!(text(&patch["metadata"]["name"]), name);
    let added = items(&container(&patch)["env"]).iter();
    let added = added.map(|it| (text(&it["name"]).to_owned(), text(&it["value"]).to_owned()));
    (merged(merged(own.clone(), &patch), &patch_of_all()), added.collect())
}

/// The Secret and the key that are this file.
fn secret<'a>(deployment: &'a Value, file: &'a str) -> (&'a str, &'a str) {
    let (folder, key) = file.rsplit_once('/').expect("a path");
    let mounts = items(&container(deployment)["volumeMounts"]);
    let mount = mounts.iter().find(|it| it["mountPath"] == folder).expect("its folder is mounted");
    assert_eq!(mount["readOnly"], true);
    let volumes = items(&deployment["spec"]["template"]["spec"]["volumes"]);
    let volume = volumes.iter().find(|it| it["name"] == mount["name"]).expect("the volume");
    assert_eq!(volume["secret"]["defaultMode"], 0o440, "the group may read it, nobody else");
    (text(&volume["secret"]["secretName"]), key)
}

fn knows<T: Args>(variable: &str) -> bool {
    let command = T::augment_args(Command::new("all"));
    command.get_arguments().any(|it| it.get_env().is_some_and(|it| it == variable))
}

#[test]
fn order_has_a_certificate_for_every_name_that_it_answers_to() {
    let (order, added) = patched("order");
    let certificates = of_kind(EDGES, "Certificate");
    let [(name, certificate)] = certificates.as_slice() else { panic!("one certificate") };
    let certificate = &certificate["spec"];
    let issuers = of_kind(OPERATORS, "Issuer");
    let authority = &issuers.iter().find(|(_, it)| it["spec"].get("ca").is_some()).unwrap().0;
    assert_eq!(certificate["issuerRef"], json!({ "name": authority, "kind": "Issuer" }));
    assert_eq!(certificate["usages"], json!(["digital signature", "server auth"]));
    assert_eq!(added.len(), 2);
    for (variable, key) in [("HTTP_TLS_CERT_FILE", "tls.crt"), ("HTTP_TLS_KEY_FILE", "tls.key")] {
        assert_eq!(secret(&order, &added[variable]), (name.as_str(), key));
        assert!(knows::<service::http::HttpSettings>(variable), "{variable}");
    }
    assert_eq!(text(&certificate["secretName"]), name);
    let told = items(&container(&order)["env"]).iter();
    let hosts = told.filter(|it| it["name"] == "ALLOWED_HOSTS").map(|it| text(&it["value"]));
    let hosts: Vec<_> = hosts.flat_map(|it| it.split(',')).chain(["localhost"]).collect();
    assert_eq!(certificate["dnsNames"], json!(hosts));
}

#[test]
fn the_service_names_the_port_as_what_it_is() {
    let patches = Kustomization::read(EDGES).patches;
    let patch = patches.iter().find(|it| it.path == "order-service.yaml").expect("it is there");
    let ours = Target {
        kind: "Service".into(),
        label_selector: "app.kubernetes.io/part-of=quadrille".into(),
        ..Target::default()
    };
    assert_eq!(patch.target, ours);
    assert_eq!(of_kind(BASE, "Service").len(), 1, "it is the only one");
    let port = json!({ "name": "https", "port": 443, "targetPort": "http" });
    let operations = document(&format!("{EDGES}/order-service.yaml"));
    assert_eq!(operations, json!([{ "op": "replace", "path": "/spec/ports/0", "value": port }]));
}

#[test]
fn payment_reads_the_providers_token_and_authority_from_one_secret() {
    let (payment, added) = patched("payment");
    let keys = [("PAYMENT_GATEWAY_TOKEN_FILE", "token"), ("PAYMENT_GATEWAY_CA_FILE", "ca.crt")];
    assert_eq!(added.len(), keys.len());
    let readme = read("deploy/kubernetes/README.md");
    let made =
        readme.lines().find(|line| line.contains("secret generic -n quadrille payment-prov"));
    let made = made.expect("the README makes the Secret");
    for (variable, key) in keys {
        assert_eq!(secret(&payment, &added[variable]), ("payment-provider", key));
        assert!(knows::<payment::Settings>(variable), "{variable}");
        assert!(made.contains(&format!("--from-file={key}=")), "{made}");
    }
}
