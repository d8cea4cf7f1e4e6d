//! The manifests and the services agree in names, variables, ports, labels and probes.

use clap::{Args, Command};
use kubernetes::{
    BASE, Kustomization, OPERATORS, container, items, of_kind, patch_of_all, services, sorted, text,
};
use serde_json::{Value, json};
use service::Common;
use std::collections::BTreeSet;
use tidy::read;

const NAME: &str = "app.kubernetes.io/name";

#[test]
pub fn every_service_has_its_deployment_with_its_image() {
    let deployments = of_kind(BASE, "Deployment");
    assert_eq!(sorted(deployments.iter().map(|(name, _)| name)), services());

    let compose = read("docker-compose.yml");
    let project = compose.lines().find_map(|line| line.strip_prefix("name: ")).expect("a name");
    let images: Vec<_> = services().iter().map(|it| format!("{project}-{it}")).collect();
    let used = deployments.iter().map(|(_, it)| text(&container(it)["image"]));
    assert_eq!(sorted(used), images, "Compose builds the right ones");
    let kustomization = Kustomization::read(BASE);
    let set = kustomization.images.iter();
    assert_eq!(sorted(set.clone().map(|it| &it.name)), images);
    assert!(set.into_iter().all(|it| it.new_tag == "latest"));
}

#[test]
pub fn whatever_selects_pods_selects_those_of_its_name() {
    for (name, deployment) in of_kind(BASE, "Deployment") {
        let labels = json!({ NAME: name });
        assert_eq!(deployment["spec"]["selector"]["matchLabels"], labels);
        assert_eq!(deployment["spec"]["template"]["metadata"]["labels"], labels);
    }
    let budgets = of_kind(BASE, "PodDisruptionBudget");
    assert_eq!(sorted(budgets.iter().map(|(name, _)| name)), services());
    for (name, budget) in budgets.into_iter().chain(of_kind(OPERATORS, "PodDisruptionBudget")) {
        assert_eq!(budget["spec"]["selector"]["matchLabels"], json!({ NAME: name }));
    }
    let kustomization = Kustomization::read(BASE);
    let [labels] = kustomization.labels.as_slice() else { panic!("one set is expected") };
    assert!(labels.include_templates, "the pods need them too");
    let patch = patch_of_all();
    let spread = &patch["spec"]["template"]["spec"]["topologySpreadConstraints"][0];
    assert_eq!(spread["labelSelector"]["matchLabels"], json!(labels.pairs));
    assert!(items(&spread["matchLabelKeys"]).contains(&json!(NAME)));
}

#[test]
pub fn order_alone_has_http_and_a_service() {
    let services = of_kind(BASE, "Service");
    let [(name, service)] = services.as_slice() else { panic!("one Service is expected") };
    assert_eq!(name, "order");
    assert!(of_kind(OPERATORS, "Service").is_empty());
    assert_eq!(service["spec"]["selector"], json!({ NAME: "order" }));

    for (name, deployment) in of_kind(BASE, "Deployment") {
        let ports = &container(&deployment)["ports"];
        if name != "order" {
            assert_eq!(*ports, Value::Null, "{name} opens no port");
            continue;
        }
        let [port] = items(ports) else { panic!("one port is expected") };
        assert_eq!(service["spec"]["ports"][0]["targetPort"], port["name"]);
        let address = variables(&deployment).into_iter().find(|(name, _)| name == "HTTP_ADDR");
        let (_, address) = address.expect("else it listens to itself only");
        assert_eq!(address, format!("0.0.0.0:{}", port["containerPort"]));
    }
}

/// A container's environment; for a value from elsewhere, only the name.
fn variables(deployment: &Value) -> Vec<(String, String)> {
    let all = container(deployment)["env"].as_array().into_iter().flatten();
    let value = |it: &Value| if it["valueFrom"].is_null() { text(&it["value"]) } else { "" }.into();
    all.map(|it| (text(&it["name"]).to_owned(), value(it))).collect()
}

/// The variables that a service reads.
fn settings<Own: Args>() -> BTreeSet<String> {
    let command = Own::augment_args(Common::augment_args(Command::new("all")));
    let names = command.get_arguments().filter_map(|it| it.get_env()?.to_str());
    names.map(Into::into).collect()
}

#[test]
fn every_variable_is_a_setting_of_the_service_that_gets_it() {
    #[derive(Args)]
    struct Nothing {}

    let common = settings::<Nothing>();
    for (name, _) in variables(&patch_of_all()) {
        assert!(common.contains(&name), "{name} is no setting that all services have");
    }
    for (service, deployment) in of_kind(BASE, "Deployment") {
        let known = match service.as_str() {
            "order" => settings::<order::Settings>(),
            "payment" => settings::<payment::Settings>(),
            _ => common.clone(),
        };
        for (name, _) in variables(&deployment) {
            assert!(known.contains(&name), "{service} has no setting {name}");
        }
    }
}

#[test]
pub fn the_secrets_lie_where_the_service_reads_them() {
    let patch = patch_of_all();
    let mount = &container(&patch)["volumeMounts"][0];
    assert_eq!(mount["name"], "secrets");
    let told = variables(&patch);
    for (service, deployment) in of_kind(BASE, "Deployment") {
        let volume = &deployment["spec"]["template"]["spec"]["volumes"][0];
        assert_eq!(volume["name"], "secrets");
        let sources = items(&volume["projected"]["sources"]).iter().map(|it| &it["secret"]);
        let lies: Vec<_> = sources
            .map(|it| {
                let (item, secret) = (&it["items"][0], text(&it["name"]));
                let path = format!("{}/{}", text(&mount["mountPath"]), text(&item["path"]));
                (secret, text(&item["key"]), path)
            })
            .collect();
        let lies = &lies[..2];
        let (database, broker) = (format!("{service}-db-app"), format!("{service}-amqp"));
        let wanted = [(&*database, "uri", told[0].1.clone()), (&*broker, "uri", told[1].1.clone())];
        assert_eq!(told[0].0, "DATABASE_URL_FILE");
        assert_eq!(told[1].0, "AMQP_URL_FILE");
        assert_eq!(lies, wanted);
    }
}

#[test]
pub fn no_service_is_killed_because_a_server_is_away() {
    let whole = json!(["/service", "healthcheck"]);
    let alive = json!(["/service", "healthcheck", "--alive"]);
    let asked = |probe: &Value| probe["exec"]["command"].clone();
    let patch = patch_of_all();
    assert_eq!(asked(&container(&patch)["livenessProbe"]), alive);
    assert_eq!(asked(&container(&patch)["startupProbe"]), whole);
    // A readiness probe in the patch would replace each service's own: it is applied last.
    assert_eq!(asked(&container(&patch)["readinessProbe"]), Value::Null);
    for (service, deployment) in of_kind(BASE, "Deployment") {
        let own = container(&deployment);
        assert_eq!([&own["livenessProbe"], &own["startupProbe"]], [&Value::Null; 2]);
        let wanted = if service == "order" { &alive } else { &whole };
        assert_eq!(asked(&own["readinessProbe"]), *wanted, "{service}");
    }
    let image = read("deploy/docker/Dockerfile");
    assert!(image.contains("ENTRYPOINT [\"/service\"]"), "the probes run /service");
}

/// A default would let a deployment without a provider confirm orders without any money.
#[test]
fn payment_does_not_start_before_its_provider_is_named() {
    let deployments = of_kind(BASE, "Deployment");
    let (_, payment) = deployments.iter().find(|(name, _)| name == "payment").expect("it is there");
    let environment = items(&container(payment)["env"]);
    let provider = environment.iter().find(|it| it["name"] == "PAYMENT_GATEWAY_URL");
    let from = &provider.expect("it asks for one")["valueFrom"]["configMapKeyRef"];
    assert_eq!(*from, json!({ "name": "payment-gateway", "key": "url" }), "and nothing optional");
    let readme = read("deploy/kubernetes/README.md");
    assert!(readme.contains("create configmap -n quadrille payment-gateway --from-literal=url="));
}
