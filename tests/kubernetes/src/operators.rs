//! The resources of the two operators, with the fields that this repository uses. A new field is
//! added from the references: rabbitmq.com/kubernetes/operator and cloudnative-pg.io/documentation.

use k8s_openapi::{
    api::core::v1::{PodSpec, ResourceRequirements},
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::ObjectMeta},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A resource of an operator's kind.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Resource<Spec> {
    api_version: String,
    kind: String,
    metadata: ObjectMeta,
    spec: Spec,
}

#[derive(Deserialize, Serialize)]
pub struct RabbitmqCluster {
    image: String,
    replicas: i32,
    persistence: Persistence,
    resources: ResourceRequirements,
    tls: Encryption,
    rabbitmq: Configuration,
    r#override: Override,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Encryption {
    secret_name: String,
    ca_secret_name: String,
}

#[derive(Deserialize, Serialize)]
struct Persistence {
    storage: Quantity,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Configuration {
    additional_plugins: Vec<String>,
    additional_config: String,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Override {
    stateful_set: Specified<StatefulSet>,
}

#[derive(Deserialize, Serialize)]
struct StatefulSet {
    template: Specified<PodSpec>,
}

#[derive(Deserialize, Serialize)]
struct Specified<Spec> {
    spec: Spec,
}

/// Its fields are in two files: those of each database, and those that all share.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cluster {
    #[serde(skip_serializing_if = "Option::is_none")]
    image_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instances: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bootstrap: Option<Bootstrap>,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificates: Option<Certificates>,
    #[serde(skip_serializing_if = "Option::is_none")]
    postgresql: Option<Postgresql>,
    #[serde(skip_serializing_if = "Option::is_none")]
    storage: Option<Storage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resources: Option<ResourceRequirements>,
    #[serde(skip_serializing_if = "Option::is_none")]
    affinity: Option<Affinity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    plugins: Option<Vec<Plugin>>,
}

#[derive(Deserialize, Serialize)]
struct Plugin {
    name: String,
    #[serde(rename = "isWALArchiver")]
    is_wal_archiver: bool,
    parameters: BTreeMap<String, String>,
}

#[derive(Deserialize, Serialize)]
struct Bootstrap {
    initdb: InitDb,
}

#[derive(Deserialize, Serialize)]
struct InitDb {
    database: String,
    owner: String,
}

/// The names of Secrets.
#[derive(Deserialize, Serialize)]
struct Certificates {
    #[serde(rename = "serverCASecret")]
    server_ca: String,
    #[serde(rename = "serverTLSSecret")]
    server: String,
    #[serde(rename = "clientCASecret")]
    client_ca: String,
    #[serde(rename = "replicationTLSSecret")]
    replication: String,
}

#[derive(Deserialize, Serialize)]
struct Postgresql {
    synchronous: Synchronous,
    pg_hba: Vec<String>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Synchronous {
    method: Method,
    number: u16,
    data_durability: Durability,
    failover_quorum: bool,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Method {
    Any,
    First,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Durability {
    Required,
    Preferred,
}

#[derive(Deserialize, Serialize)]
struct Storage {
    size: Quantity,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Affinity {
    pod_anti_affinity_type: AntiAffinity,
    topology_key: String,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum AntiAffinity {
    Preferred,
    Required,
}
