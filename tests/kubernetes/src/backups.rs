//! The resources of CloudNativePG's backups by its Barman Cloud plugin:
//! cloudnative-pg.io/plugin-barman-cloud.

use k8s_openapi::api::core::v1::{LocalObjectReference, SecretKeySelector};
use serde::{Deserialize, Serialize};

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectStore {
    retention_policy: String,
    configuration: Store,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Store {
    destination_path: String,
    s3_credentials: Credentials,
    wal: Files,
    data: Files,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Credentials {
    access_key_id: SecretKeySelector,
    secret_access_key: SecretKeySelector,
}

#[derive(Deserialize, Serialize)]
struct Files {
    compression: Compression,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Compression {
    Gzip,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ScheduledBackup {
    schedule: String,
    immediate: bool,
    backup_owner_reference: Owner,
    cluster: LocalObjectReference,
    method: Method,
    plugin_configuration: LocalObjectReference,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Owner {
    Cluster,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Method {
    Plugin,
}
