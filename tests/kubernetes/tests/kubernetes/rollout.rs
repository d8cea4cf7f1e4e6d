//! A rollout, a drained node and a scale-down interrupt nothing.

use kubernetes::{BASE, container, items, merged, of_kind, patch_of_all, services, text};
use serde_json::{Value, json};
use tidy::read;

/// The services' Deployments with the patch.
fn deployments() -> Vec<(String, Value)> {
    let patch = patch_of_all();
    let own = of_kind(BASE, "Deployment").into_iter();
    own.map(|(name, deployment)| (name, merged(deployment, &patch))).collect()
}

/// How long a service takes to stop, at most.
fn shutdown_max() -> u64 {
    let boot = read("shared/service/src/boot.rs");
    let (_, rest) = boot
        .split_once("const SHUTDOWN_MAX: Duration = Duration::from_secs(")
        .expect("the service bounds its shutdown");
    rest.split(')').next().and_then(|it| it.parse().ok()).expect("in seconds")
}

#[test]
fn a_new_pod_works_before_an_old_one_goes() {
    for (name, deployment) in deployments() {
        let rolling = &deployment["spec"]["strategy"]["rollingUpdate"];
        assert_eq!(*rolling, json!({ "maxSurge": 1, "maxUnavailable": 0 }), "{name}");
        assert!(container(&deployment).get("readinessProbe").is_some(), "{name}");
    }
}

#[test]
fn a_pod_has_the_time_that_its_service_takes_to_stop() {
    for (name, deployment) in deployments() {
        let pod = &deployment["spec"]["template"]["spec"];
        let given = pod["terminationGracePeriodSeconds"].as_u64().expect("it is said");
        let sleep = &container(&deployment)["lifecycle"]["preStop"]["sleep"]["seconds"];
        let needed = sleep.as_u64().unwrap_or(0) + shutdown_max();
        assert!(given > needed, "{name} needs {needed} s, and has {given}");
        assert_eq!(
            sleep.is_u64(),
            name == "order",
            "who has a Service waits until it is out of it"
        );
    }
}

#[test]
pub fn one_of_each_service_at_a_time_leaves_with_its_node_and_they_are_on_several() {
    let budgets = of_kind(BASE, "PodDisruptionBudget");
    for (service, deployment) in deployments() {
        let (_, budget) = budgets.iter().find(|(name, _)| *name == service).expect("a budget");
        assert_eq!(budget["spec"]["maxUnavailable"], 1, "{service}");
        assert!(deployment["spec"]["replicas"].as_u64() >= Some(2), "{service}");
        let spread = items(&deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]);
        assert_eq!(text(&spread[0]["topologyKey"]), "kubernetes.io/hostname", "{service}");
    }
    assert_eq!(budgets.len(), services().len());
}
