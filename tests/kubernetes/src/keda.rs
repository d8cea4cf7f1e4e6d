//! KEDA's resources, with the fields that this repository uses: keda.sh/docs.

use k8s_openapi::api::{
    autoscaling::v2::HorizontalPodAutoscalerBehavior, core::v1::LocalObjectReference,
};
use serde::{Deserialize, Serialize};

/// Its fields are in two files: those of each service, and those that all share.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ScaledObject {
    #[serde(skip_serializing_if = "Option::is_none")]
    scale_target_ref: Option<LocalObjectReference>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_replica_count: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_replica_count: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fallback: Option<Fallback>,
    #[serde(skip_serializing_if = "Option::is_none")]
    advanced: Option<Advanced>,
    #[serde(skip_serializing_if = "Option::is_none")]
    triggers: Option<Vec<Trigger>>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Fallback {
    failure_threshold: u16,
    replicas: u16,
    behavior: Behavior,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
enum Behavior {
    CurrentReplicasIfHigher,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Advanced {
    horizontal_pod_autoscaler_config: Autoscaler,
}

#[derive(Deserialize, Serialize)]
struct Autoscaler {
    behavior: HorizontalPodAutoscalerBehavior,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Trigger {
    r#type: Scaler,
    authentication_ref: LocalObjectReference,
    metadata: Queue,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Scaler {
    Rabbitmq,
}

/// All are texts, the number too.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Queue {
    protocol: String,
    vhost_name: String,
    mode: Mode,
    value: String,
    queue_name: String,
}

#[derive(Deserialize, Serialize)]
enum Mode {
    QueueLength,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TriggerAuthentication {
    secret_target_ref: Vec<Parameter>,
}

#[derive(Deserialize, Serialize)]
struct Parameter {
    parameter: String,
    name: String,
    key: String,
}
