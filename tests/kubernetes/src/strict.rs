//! Parses a resource into its Kubernetes type and serialises it again: an unknown field is then
//! missing, and a missing required field is there, empty.

use crate::{
    backups::{ObjectStore, ScheduledBackup},
    cert_manager::{Certificate, Issuer},
    keda::{ScaledObject, TriggerAuthentication},
    operators::{Cluster, RabbitmqCluster, Resource},
    prometheus::PodMonitor,
    text,
};
use k8s_openapi::api::{
    apps::v1::Deployment,
    autoscaling::v2::HorizontalPodAutoscaler,
    batch::v1::CronJob,
    core::v1::{Namespace, Secret, Service},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// Whether a manifest is complete, or a patch, which leaves out what it does not change.
#[derive(Clone, Copy, PartialEq)]
pub enum Whole {
    Yes,
    No,
}

/// Errors that Kubernetes would report for the manifest as written.
pub fn complaints(manifest: &Value, whole: Whole) -> Vec<String> {
    let kind = (text(&manifest["apiVersion"]), text(&manifest["kind"]));
    let Some(read) = typed(kind, manifest) else {
        return vec![format!("{kind:?} is not known here: add its type to strict.rs")];
    };
    match read {
        Ok(read) => {
            let mut found = Vec::new();
            compare("", manifest, &read, whole, &mut found);
            found
        }
        Err(why) => vec![why.to_string()],
    }
}

/// Reads it as its kind and writes it again; none if its kind is unknown.
fn typed(kind: (&str, &str), manifest: &Value) -> Option<serde_json::Result<Value>> {
    let reread = match kind {
        ("v1", "Namespace") => reread::<Namespace>,
        ("v1", "Secret") => reread::<Secret>,
        ("v1", "Service") => reread::<Service>,
        ("apps/v1", "Deployment") => reread::<Deployment>,
        ("batch/v1", "CronJob") => reread::<CronJob>,
        ("policy/v1", "PodDisruptionBudget") => reread::<PodDisruptionBudget>,
        ("autoscaling/v2", "HorizontalPodAutoscaler") => reread::<HorizontalPodAutoscaler>,
        ("networking.k8s.io/v1", "NetworkPolicy") => reread::<NetworkPolicy>,
        ("rabbitmq.com/v1beta1", "RabbitmqCluster") => reread::<Resource<RabbitmqCluster>>,
        ("postgresql.cnpg.io/v1", "Cluster") => reread::<Resource<Cluster>>,
        ("postgresql.cnpg.io/v1", "ScheduledBackup") => reread::<Resource<ScheduledBackup>>,
        ("cert-manager.io/v1", "Issuer") => reread::<Resource<Issuer>>,
        ("cert-manager.io/v1", "Certificate") => reread::<Resource<Certificate>>,
        ("barmancloud.cnpg.io/v1", "ObjectStore") => reread::<Resource<ObjectStore>>,
        ("keda.sh/v1alpha1", "ScaledObject") => reread::<Resource<ScaledObject>>,
        ("keda.sh/v1alpha1", "TriggerAuthentication") => reread::<Resource<TriggerAuthentication>>,
        ("monitoring.coreos.com/v1", "PodMonitor") => reread::<Resource<PodMonitor>>,
        _ => return None,
    };
    Some(reread(manifest))
}

fn reread<T: DeserializeOwned + Serialize>(manifest: &Value) -> serde_json::Result<Value> {
    serde_json::to_value(T::deserialize(manifest)?)
}

/// Resources that can be requested and limited. Kubernetes accepts any name here, and refuses the
/// pod later.
const RESOURCES: [&str; 2] = ["cpu", "memory"];

fn compare(place: &str, written: &Value, read: &Value, whole: Whole, found: &mut Vec<String>) {
    match (written, read) {
        (Value::Object(written), Value::Object(read)) => {
            let resources = place.ends_with(".requests") || place.ends_with(".limits");
            for (name, value) in written {
                if resources && !RESOURCES.contains(&name.as_str()) {
                    found.push(format!("{place}.{name} is no resource"));
                }
                match read.get(name) {
                    Some(read) => compare(&format!("{place}.{name}"), value, read, whole, found),
                    None => found.push(format!("{place}.{name} is unknown, or says nothing")),
                }
            }
            let missing = read.keys().filter(|name| !written.contains_key(*name));
            if whole == Whole::Yes {
                found.extend(missing.map(|name| format!("{place}.{name} is missing")));
            }
        }
        (Value::Array(written), Value::Array(read)) if written.len() == read.len() => {
            for (at, (written, read)) in written.iter().zip(read).enumerate() {
                compare(&format!("{place}[{at}]"), written, read, whole, found);
            }
        }
        _ if written == read => {}
        _ => found.push(format!("{place}: {written} is read as {read}")),
    }
}
