//! cert-manager's resources, with the fields that this repository uses: cert-manager.io/docs.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Issuer {
    #[serde(skip_serializing_if = "Option::is_none")]
    self_signed: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ca: Option<Ca>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Ca {
    secret_name: String,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Certificate {
    secret_name: String,
    issuer_ref: IssuerRef,
    private_key: PrivateKey,
    #[serde(rename = "isCA", skip_serializing_if = "Option::is_none")]
    is_ca: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    common_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dns_names: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usages: Option<Vec<Usage>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_template: Option<SecretTemplate>,
}

#[derive(Deserialize, Serialize)]
struct IssuerRef {
    name: String,
    kind: String,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct PrivateKey {
    algorithm: Algorithm,
    size: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    rotation_policy: Option<Rotation>,
}

#[derive(Deserialize, Serialize)]
enum Algorithm {
    #[serde(rename = "ECDSA")]
    Ecdsa,
}

#[derive(Deserialize, Serialize)]
enum Rotation {
    Always,
    Never,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Usage {
    #[serde(rename = "digital signature")]
    Signature,
    #[serde(rename = "server auth")]
    Server,
    #[serde(rename = "client auth")]
    Client,
}

#[derive(Deserialize, Serialize)]
struct SecretTemplate {
    labels: BTreeMap<String, String>,
}
