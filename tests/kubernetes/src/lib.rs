//! Reads the manifests of `deploy/kubernetes` as Kubernetes does, without a cluster.

mod backups;
mod cert_manager;
mod keda;
mod kustomization;
mod network;
mod operators;
mod pods;
mod prometheus;
mod restricted;
mod strict;

pub use kustomization::{Kustomization, Target};
pub use network::{Network, selects};
pub use pods::{NAMESPACE, Pod, Port, databases, outside, pods};
pub use restricted::violations;
pub use strict::{Whole, complaints};

use events::{ADD_ONS, SAGA, SERVICES, Step, services_in};
use serde_json::Value;
use std::cell::RefCell;

thread_local! {
    static ADDED: RefCell<Vec<Step>> = RefCell::new(ADD_ONS.to_vec());
}

/// Does it with these steps beside the saga, in this thread.
pub fn with_steps<T>(beside: Vec<Step>, act: impl FnOnce() -> T) -> T {
    let before = ADDED.replace(beside);
    let done = act();
    ADDED.set(before);
    done
}

/// The services, sorted: the four, and those beside the saga.
pub fn services() -> Vec<&'static str> {
    let beside: Vec<_> = ADDED.with_borrow(|steps| services_in(steps).collect());
    let mut all = [SERVICES, beside.as_slice()].concat();
    all.sort_unstable();
    all
}

/// The events that a service consumes.
pub fn heard_by(service: &str) -> Vec<&'static str> {
    let steps = ADDED.with_borrow(|beside| [SAGA, beside.as_slice()].concat());
    steps.iter().filter(|step| step.service == service).map(|step| step.hears).collect()
}

/// The names, sorted.
pub fn sorted(names: impl IntoIterator<Item = impl Into<String>>) -> Vec<String> {
    let mut names: Vec<_> = names.into_iter().map(Into::into).collect();
    names.sort_unstable();
    names
}

pub const BASE: &str = "deploy/kubernetes/base";
pub const OPERATORS: &str = "deploy/kubernetes/operators";
pub const BACKUPS: &str = "deploy/kubernetes/backups";
pub const EDGES: &str = "deploy/kubernetes/edges";
pub const MONITORING: &str = "deploy/kubernetes/monitoring";
pub const SCALING: &str = "deploy/kubernetes/scaling";
pub const VERIFY: &str = "deploy/kubernetes/verify";
pub const PRODUCTION: &str = "deploy/kubernetes/production";

/// Those with manifests of their own.
pub const FOLDERS: [&str; 7] = [BASE, OPERATORS, BACKUPS, EDGES, MONITORING, SCALING, VERIFY];

/// Every document of a file.
pub fn documents(yaml: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(yaml).unwrap_or_else(|why| panic!("this is no YAML: {why}\n{yaml}"))
}

/// All resources of a kustomization's own files, as they stand there, each with its file.
pub fn resources(folder: &str) -> Vec<(String, Value)> {
    let files = Kustomization::read(folder).files(folder);
    let read = |file: String| {
        let documents = documents(&tidy::read(&file));
        documents.into_iter().map(move |document| (file.clone(), document))
    };
    files.into_iter().flat_map(read).collect()
}

/// Those of one kind, by their names.
pub fn of_kind(folder: &str, kind: &str) -> Vec<(String, Value)> {
    let all = resources(folder).into_iter().map(|(_, resource)| resource);
    let those = all.filter(|resource| resource["kind"] == kind);
    those.map(|resource| (text(&resource["metadata"]["name"]).to_owned(), resource)).collect()
}

/// The only document of a file.
pub fn document(path: &str) -> Value {
    let mut documents = documents(&tidy::read(path));
    assert_eq!(documents.len(), 1, "{path}");
    documents.remove(0)
}

/// The patch on all Deployments.
pub fn patch_of_all() -> Value {
    document(&format!("{BASE}/every-service.yaml"))
}

/// A resource with a patch applied as kustomize does: elements of lists are merged by their names.
pub fn merged(mut resource: Value, patch: &Value) -> Value {
    merge(&mut resource, patch);
    resource
}

fn merge(into: &mut Value, patch: &Value) {
    match (into, patch) {
        (Value::Object(into), Value::Object(patch)) => {
            for (key, value) in patch {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (Value::Array(into), Value::Array(patch))
            if patch.iter().all(|it| it.get("name").is_some()) =>
        {
            for value in patch {
                match into.iter_mut().find(|it| it["name"] == value["name"]) {
                    Some(same) => merge(same, value),
                    None => into.push(value.clone()),
                }
            }
        }
        (into, patch) => into.clone_from(patch),
    }
}

/// A Deployment's only container.
pub fn container(deployment: &Value) -> &Value {
    let containers = &deployment["spec"]["template"]["spec"]["containers"];
    let [container] = items(containers) else { panic!("one container is expected: {containers}") };
    container
}

/// The pods that a CronJob starts, as a Deployment has them.
pub fn template(job: &Value) -> &Value {
    &job["spec"]["jobTemplate"]["spec"]["template"]
}

/// The text at this place.
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} where a text is expected"))
}

/// The list at this place.
pub fn items(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("{value} where a list is expected"))
}
