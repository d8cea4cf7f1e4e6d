//! Kubernetes accepts every manifest as written, and every manifest is used.

use kubernetes::{
    FOLDERS, Kustomization, OPERATORS, PRODUCTION, Whole, complaints, documents, resources,
};
use serde_json::Value;
use std::{collections::BTreeSet, path::Path};
use tidy::{list, read, root};

#[test]
pub fn kubernetes_knows_every_field_of_every_manifest() {
    for folder in FOLDERS {
        for (file, resource) in resources(folder) {
            let found = complaints(&resource, Whole::Yes);
            assert!(found.is_empty(), "{file}: {found:#?}");
        }
        for patch in Kustomization::read(folder).patches {
            // A list of operations is no resource: see scaling.rs.
            let documents = documents(&read(&format!("{folder}/{}", patch.path))).into_iter();
            for document in documents.filter(Value::is_object) {
                let found = complaints(&document, Whole::No);
                assert!(found.is_empty(), "{folder}/{}: {found:#?}", patch.path);
            }
        }
    }
}

#[test]
pub fn every_file_is_referred_to_and_every_reference_leads_somewhere() {
    let mut referred = BTreeSet::from(["deploy/kubernetes/README.md".to_owned()]);
    let generators = ["deploy/rabbitmq", "deploy/observability"];
    for folder in FOLDERS.into_iter().chain(generators).chain([PRODUCTION]) {
        let kustomization = Kustomization::read(folder);
        referred.insert(format!("{folder}/kustomization.yaml"));
        referred.extend(kustomization.files(folder));
        referred.extend(kustomization.patches.iter().map(|it| format!("{folder}/{}", it.path)));
        let generated = kustomization.config_map_generator.iter().flat_map(|it| &it.files);
        referred.extend(generated.map(|file| format!("{folder}/{file}")));
        for other in kustomization.folders() {
            let other = root().join(folder).join(other).join("kustomization.yaml");
            assert!(other.exists(), "{folder} refers to {}, which is not there", other.display());
        }
    }
    let readme = read("deploy/kubernetes/README.md");
    let words = readme.split([' ', '\n', '`']).filter(|word| word.starts_with("deploy/"));
    referred.extend(words.map(Into::into).filter(|path| !folders().contains(path)));
    for path in &referred {
        assert!(root().join(path).exists(), "{path} is referred to, and is not there");
    }
    for path in folders().iter().flat_map(|folder| list(folder)) {
        let used = referred.contains(&path) || folders().contains(&path);
        assert!(used, "{path} is used by no kustomization: take it out, or name it in one");
    }
}

#[test]
fn production_has_every_folder() {
    let production = Kustomization::read(PRODUCTION);
    let built_on = production.folders().cloned().collect::<Vec<_>>().into_iter();
    let inside = built_on.chain(Kustomization::read(OPERATORS).resources);
    let inside: Vec<_> =
        inside.filter_map(|name| Some(name.strip_prefix("../")?.to_owned())).collect();
    for folder in FOLDERS {
        let (_, name) = folder.rsplit_once('/').expect("a path");
        assert!(inside.iter().any(|it| it == name), "{name} is in no part of production");
    }
}

fn folders() -> Vec<String> {
    let mut folders = vec!["deploy/kubernetes".to_owned()];
    let inside = list("deploy/kubernetes").into_iter();
    folders.extend(inside.filter(|path| Path::new(&root().join(path)).is_dir()));
    folders
}

const BUDGET: &str = "
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: { name: order }
spec:
  maxUnavailable: 1
  selector: { matchLabels: { app.kubernetes.io/name: order } }
";

const DEPLOYMENT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: { name: order }
spec:
  selector: { matchLabels: { app.kubernetes.io/name: order } }
  template:
    metadata: { labels: { app.kubernetes.io/name: order } }
    spec:
      containers:
        - { name: service, image: quadrille-order, securityContext: { runAsNonRoot: true } }
";

const CLUSTER: &str = "
apiVersion: postgresql.cnpg.io/v1
kind: Cluster
metadata: { name: order-db }
spec:
  instances: 3
  bootstrap: { initdb: { database: orders, owner: orders } }
  resources: { limits: { memory: 512Mi } }
";

/// The complaints about a manifest in which something has been replaced.
#[track_caller]
fn with(manifest: &str, right: &str, wrong: &str) -> Vec<String> {
    assert!(complaints(&documents(manifest)[0], Whole::Yes).is_empty());
    let broken = manifest.replacen(right, wrong, 1);
    assert_ne!(broken, manifest);
    complaints(&documents(&broken)[0], Whole::Yes)
}

#[test]
fn a_field_that_is_misspelt_is_found_wherever_it_stands() {
    let place = ".spec.template.spec.containers[0].securityContext.runAsNonroot";
    let found = with(DEPLOYMENT, "runAsNonRoot", "runAsNonroot");
    assert_eq!(found, [format!("{place} is unknown, or says nothing")]);
    assert_eq!(with(DEPLOYMENT, "template:", "tamplate:").len(), 2);
    assert_eq!(with(BUDGET, "maxUnavailable", "maxUnavailible").len(), 1);
    assert_eq!(with(CLUSTER, "instances", "replicas").len(), 1);
    assert_eq!(with(CLUSTER, "limits", "limit").len(), 1);
    assert_eq!(with(CLUSTER, "memory", "memry").len(), 1);
}

#[test]
fn a_field_that_is_missing_or_of_another_type_or_kind_is_found() {
    let found = with(DEPLOYMENT, "name: service, ", "");
    assert_eq!(found, [".spec.template.spec.containers[0].name is missing"]);
    assert_eq!(with(DEPLOYMENT, "runAsNonRoot: true", "runAsNonRoot: 1").len(), 1);
    assert_eq!(with(CLUSTER, ", owner: orders", "").len(), 1);
    assert_eq!(with(BUDGET, "policy/v1", "policy/v1beta1").len(), 1);
}

#[test]
fn a_patch_may_leave_out_what_it_does_not_change_but_not_misspell() {
    let patch = DEPLOYMENT.replace("name: service, ", "");
    assert!(complaints(&documents(&patch)[0], Whole::No).is_empty());
    let broken = patch.replace("runAsNonRoot", "runAsNonroot");
    assert_eq!(complaints(&documents(&broken)[0], Whole::No).len(), 1);
}
