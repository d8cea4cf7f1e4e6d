//! What the service promises to the outside, written beside its own types: as OpenAPI for programs
//! and as a page for people.

mod docs;
mod examples;
mod model;
mod operations;
mod schemas;

use axum::{
    body::Bytes,
    http::{HeaderValue, header},
    response::IntoResponse,
};
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

pub use docs::page;

/// What any client has to know, whatever it asks for.
const ABOUT: &str = "Places orders and shows what becomes of them. \
    An order is answered as soon as it is stored; four services then dance it to its end by \
    events. \
    Amounts are exact decimal numbers with two decimals, never floats. \
    Unknown fields and parameters are ignored, and clients are asked to do the same: answers may \
    gain fields. \
    Whatever goes wrong is told as `application/problem+json` (RFC 9457), with a `type` that \
    stays; so are an unknown path (404), a method that a path does not know (405), no `Host` (400) \
    and one that is not ours (421).";

pub static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let mut paths: Map<String, Value> = Map::new();
    for operation in operations::all() {
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        path[operation.method] = operation.json();
    }
    let schemas: Map<_, _> =
        schemas::all().into_iter().map(|schema| (schema.name.into(), schema.json())).collect();
    json!({
        "openapi": "3.1.1",
        "info": {
            "title": "Quadrille orders",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": { "name": "MIT", "identifier": "MIT" },
        },
        "servers": [{ "url": "/", "description": "Where this document came from." }],
        "tags": operations::GROUPS.map(|(name, about)| json!({ "name": name, "description": about })),
        "paths": paths,
        "components": { "schemas": schemas },
    })
});

/// `GET /openapi.json`.
pub async fn document() -> impl IntoResponse {
    static TEXT: LazyLock<Bytes> = LazyLock::new(|| DOCUMENT.to_string().into());
    let media_type = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, media_type)], TEXT.clone())
}

#[cfg(test)]
mod tests;
