//! The autoscalers look at what grows with the work, and stay within what the databases bear.

use crate::broker::{imported, secrets};
use clap::{Args, Command};
use kubernetes::{
    BASE, Kustomization, OPERATORS, SCALING, Target, document, heard_by, items, of_kind,
    patch_of_all, services, sorted, text,
};
use messaging::queue_name;
use serde_json::{Value, json};
use service::Common;
use std::collections::BTreeSet;
use tidy::read;

/// What every ScaledObject shares.
fn shared() -> Value {
    document(&format!("{SCALING}/every-worker.yaml"))["spec"].take()
}

/// A setting's default.
fn default(name: &str) -> u64 {
    let command = Common::augment_args(Command::new("all"));
    let found = command.get_arguments().find(|it| it.get_env().is_some_and(|it| it == name));
    let value = found.and_then(|it| it.get_default_values().first()?.to_str()?.parse().ok());
    value.unwrap_or_else(|| panic!("{name} has no default"))
}

#[test]
pub fn every_service_is_scaled_by_one_autoscaler() {
    let order = of_kind(SCALING, "HorizontalPodAutoscaler");
    let targets = order.into_iter().chain(of_kind(SCALING, "ScaledObject"));
    let targets = targets.map(|(_, it)| text(&it["spec"]["scaleTargetRef"]["name"]).to_owned());
    assert_eq!(sorted(targets), services());
}

#[test]
pub fn a_worker_is_scaled_by_every_queue_that_it_consumes_and_no_other() {
    let topology: Value =
        serde_json::from_str(&read("deploy/rabbitmq/topology.json")).expect("JSON");
    let existing: BTreeSet<_> =
        items(&topology["queues"]).iter().map(|it| text(&it["name"])).collect();
    for (service, object) in of_kind(SCALING, "ScaledObject") {
        assert_eq!(text(&object["spec"]["scaleTargetRef"]["name"]), service);
        let consumed = heard_by(&service).into_iter();
        let consumed: Vec<_> = consumed.map(|event| queue_name(&service, event)).collect();
        let named = items(&object["spec"]["triggers"]).iter();
        let named: Vec<_> = named.map(|it| text(&it["metadata"]["queueName"])).collect();
        assert_eq!(named, consumed);
        assert!(named.iter().all(|queue| existing.contains(queue)), "{named:?}");
    }
}

/// Over AMQP, KEDA sees only messages that no replica holds.
#[test]
pub fn unacknowledged_messages_count_and_a_replica_has_as_many_as_it_can_hold() {
    let boot = read("shared/service/src/boot.rs");
    assert!(boot.contains("let prefetch = common.batch_max.saturating_mul(4);"));
    let prefetch = (4 * default("BATCH_MAX")).to_string();
    let authentication = of_kind(SCALING, "TriggerAuthentication").remove(0).0;
    for (name, object) in of_kind(SCALING, "ScaledObject") {
        for trigger in items(&object["spec"]["triggers"]) {
            let told = &trigger["metadata"];
            assert_eq!(told["protocol"], "http", "{name}");
            assert_eq!(told["mode"], "QueueLength", "{name}");
            assert_eq!(told["vhostName"], "/", "{name}");
            assert_eq!(told["value"], prefetch, "{name}");
            assert_eq!(told.get("excludeUnacknowledged"), None, "{name}");
            assert_eq!(trigger["authenticationRef"]["name"], authentication, "{name}");
        }
    }
}

#[test]
fn keda_knows_an_address_whose_user_rabbitmq_has() {
    let (_, authentication) = of_kind(SCALING, "TriggerAuthentication").remove(0);
    let [from] = items(&authentication["spec"]["secretTargetRef"]) else { panic!("one secret") };
    assert_eq!(from["parameter"], "host");
    let secrets = secrets();
    let address = text(&secrets[text(&from["name"])][text(&from["key"])]);
    let users = imported(&secrets, "admin.json")["users"].take();
    let user = items(&users).iter().find(|user| user["name"] == "keda").expect("a user");
    assert_eq!(user["tags"], json!(["management"]));
    let (broker, _) = of_kind(OPERATORS, "RabbitmqCluster").remove(0);
    let namespace = &of_kind(OPERATORS, "Namespace").remove(0).0;
    let password = text(&user["password"]);
    assert_eq!(address, format!("http://keda:{password}@{broker}.{namespace}.svc:15672/"));
}

#[test]
fn the_most_replicas_and_one_more_have_enough_connections() {
    let (_, order) = of_kind(SCALING, "HorizontalPodAutoscaler").remove(0);
    let surge = &patch_of_all()["spec"]["strategy"]["rollingUpdate"]["maxSurge"];
    // Of Postgres' 100, three are for superusers, and CloudNativePG takes a few.
    let available = 100 - 3 - 5;
    for most in [&order["spec"]["maxReplicas"], &shared()["maxReplicaCount"]] {
        let replicas = most.as_u64().expect("a number") + surge.as_u64().expect("a number");
        let taken = replicas * default("DATABASE_CONNECTIONS");
        assert!(taken <= available, "{replicas} replicas take {taken} of {available}");
    }
    let common = document(&format!("{OPERATORS}/every-database.yaml"));
    assert_eq!(common["spec"]["postgresql"].get("parameters"), None, "max_connections is 100");
}

#[test]
pub fn the_fewest_are_as_many_as_without_an_autoscaler() {
    let (_, order) = of_kind(SCALING, "HorizontalPodAutoscaler").remove(0);
    let shared = shared();
    for (name, deployment) in of_kind(BASE, "Deployment") {
        let workers = &shared["minReplicaCount"];
        let fewest = if name == "order" { &order["spec"]["minReplicas"] } else { workers };
        assert_eq!(*fewest, deployment["spec"]["replicas"], "{name}");
    }
    assert_eq!(shared["fallback"]["replicas"], shared["minReplicaCount"]);
}

/// Each that goes has finished before the next.
#[test]
fn replicas_go_one_by_one_and_each_has_the_time_to_finish() {
    let (_, order) = of_kind(SCALING, "HorizontalPodAutoscaler").remove(0);
    let workers = shared();
    let workers = &workers["advanced"]["horizontalPodAutoscalerConfig"]["behavior"];
    let pod = &patch_of_all()["spec"]["template"]["spec"];
    let grace = pod["terminationGracePeriodSeconds"].as_u64();
    for behavior in [&order["spec"]["behavior"], workers] {
        let [policy] = items(&behavior["scaleDown"]["policies"]) else { panic!("one policy") };
        assert_eq!([&policy["type"], &policy["value"]], [&json!("Pods"), &json!(1)]);
        assert!(policy["periodSeconds"].as_u64() >= grace, "{policy}");
    }
}

/// Else the number of replicas would be set back whenever the files are applied.
#[test]
fn where_autoscalers_decide_no_file_says_how_many() {
    let kustomization = Kustomization::read(SCALING);
    let [shared, removed] = kustomization.patches.as_slice() else { panic!("two patches") };
    let objects =
        Target { group: "keda.sh".into(), kind: "ScaledObject".into(), ..Target::default() };
    assert_eq!((shared.path.as_str(), &shared.target), ("every-worker.yaml", &objects));
    let services = Target {
        kind: "Deployment".into(),
        label_selector: "app.kubernetes.io/part-of=quadrille".into(),
        ..Target::default()
    };
    assert_eq!(removed.target, services);
    let operations = document(&format!("{SCALING}/{}", removed.path));
    assert_eq!(operations, json!([{ "op": "remove", "path": "/spec/replicas" }]));
}
