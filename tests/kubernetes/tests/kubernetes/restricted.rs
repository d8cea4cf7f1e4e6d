//! The namespace admits only pods that meet the Pod Security Standard `restricted`; ours do.

use kubernetes::{
    BASE, FOLDERS, MONITORING, NAMESPACE, OPERATORS, VERIFY, merged, of_kind, patch_of_all,
    services, template, violations,
};
use serde_json::{Value, json};

/// The specifications of all pods that these files describe, by their names.
fn described() -> Vec<(String, Value)> {
    let patch = patch_of_all();
    let ours = of_kind(BASE, "Deployment").into_iter();
    let ours = ours.map(|(name, deployment)| (name, merged(deployment, &patch)));
    let deployments = ours.chain(of_kind(MONITORING, "Deployment"));
    let templates = deployments.map(|(name, it)| (name, it["spec"]["template"]["spec"].clone()));
    let brokers = of_kind(OPERATORS, "RabbitmqCluster").into_iter().map(|(name, it)| {
        let set = &it["spec"]["override"]["statefulSet"];
        (name, set["spec"]["template"]["spec"].clone())
    });
    let jobs = of_kind(VERIFY, "CronJob").into_iter();
    let jobs = jobs.map(|(name, it)| (name, template(&it)["spec"].clone()));
    templates.chain(jobs).chain(brokers).collect()
}

#[test]
pub fn every_pod_of_ours_meets_restricted() {
    let described = described();
    assert_eq!(
        described.len(),
        services().len() + 3,
        "the services, the collector, the check, RabbitMQ"
    );
    let deployments = FOLDERS.iter().flat_map(|folder| of_kind(folder, "Deployment"));
    assert_eq!(
        deployments.count(),
        services().len() + 1,
        "those of the other folders are not looked at"
    );
    for (name, pod) in described {
        assert_eq!(violations(&pod), [""; 0], "{name}");
    }
}

/// What the operator adds by itself: its first container prepares the files.
#[test]
fn rabbitmqs_first_container_is_restricted_too() {
    let (_, broker) = described().pop().expect("it is the last");
    assert_eq!(broker["initContainers"][0]["name"], "setup-container");
}

#[test]
fn the_namespace_enforces_it() {
    let namespaces = of_kind(OPERATORS, "Namespace");
    let [(name, namespace)] = namespaces.as_slice() else { panic!("one is expected") };
    assert_eq!(name, NAMESPACE);
    let enforced = &namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"];
    assert_eq!(*enforced, "restricted");
}

#[test]
fn what_restricted_forbids_is_found() {
    let pod = json!({
        "securityContext": {
            "runAsNonRoot": true, "seccompProfile": { "type": "RuntimeDefault" },
        },
        "containers": [{
            "name": "one",
            "securityContext": {
                "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] },
            },
        }],
        "volumes": [{ "name": "tmp", "emptyDir": {} }],
    });
    assert_eq!(violations(&pod), [""; 0]);
    let broken = [
        ("/containers/0/securityContext/allowPrivilegeEscalation", json!(true)),
        ("/containers/0/securityContext/capabilities/drop", json!(["NET_RAW"])),
        ("/containers/0/securityContext/capabilities/add", json!(["SYS_ADMIN"])),
        ("/containers/0/securityContext/privileged", json!(true)),
        ("/containers/0/securityContext/runAsUser", json!(0)),
        ("/containers/0/securityContext/runAsNonRoot", json!(false)),
        ("/containers/0/securityContext/seccompProfile", json!({ "type": "Unconfined" })),
        ("/containers/0/ports", json!([{ "containerPort": 1, "hostPort": 1 }])),
        ("/hostNetwork", json!(true)),
        ("/volumes/0/hostPath", json!({ "path": "/" })),
    ];
    for (place, value) in broken {
        let mut pod = pod.clone();
        let (parent, field) = place.rsplit_once('/').expect("a path");
        pod.pointer_mut(parent).expect("it is there")[field] = value;
        assert_eq!(violations(&pod).len(), 1, "{place}");
    }
}
