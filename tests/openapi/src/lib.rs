//! Builds the API's documents, OpenAPI for programs and a page for people, from the service's own
//! types and limits.

mod docs;
mod examples;
mod html;
mod model;
mod operations;
mod parameters;
mod schemas;

use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Text for every client, whatever it requests.
const ABOUT: &str = "Places, shows and cancels orders. A POST is answered as soon as the order is \
    stored; four services then process it by events. \
    Amounts are exact decimal numbers with two decimals, never floats. \
    Unknown fields and parameters are ignored, and clients are asked to do the same: answers may \
    gain fields. \
    Every error of a request that could be read is `application/problem+json` (RFC 9457) with a \
    stable `type`, also for an unknown path (404), a wrong method (405), a missing `Host` (400) \
    and an unknown one (421). Headers of more than 16 KiB (431) and what is no HTTP (400) are \
    refused without a body. \
    A UUID may also be sent as 32 hexadecimal digits, in braces, or after `urn:uuid:`; answers \
    have the usual form.";

const KEY: &str = "With `API_KEYS=required`. A key belongs to a client, which sees and cancels \
    its own orders only; another's is a 404. `saga keys create` makes keys. Where an OpenID \
    Connect issuer is set, its tokens (JWT) are accepted too.";

/// The service's two builds: with the demonstration, and without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Build {
    Demo,
    Production,
}

impl Build {
    const ALL: [Self; 2] = [Self::Demo, Self::Production];

    const fn folder(self) -> &'static str {
        match self {
            Self::Demo => "services/order/api",
            Self::Production => "services/order/api/production",
        }
    }
}

/// The files that the service includes, by their paths.
pub fn api_documents() -> BTreeMap<String, String> {
    let documents = |build: Build| {
        [("openapi.json", format!("{:#}\n", document(build))), ("docs.html", docs::page(build))]
            .map(|(name, text)| (format!("{}/{name}", build.folder()), text))
    };
    Build::ALL.into_iter().flat_map(documents).collect()
}

fn document(build: Build) -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for operation in operations::all() {
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        path[operation.method] = operation.json();
    }
    let schemas: Map<_, _> =
        schemas::all(build).into_iter().map(|schema| (schema.name.into(), schema.json())).collect();
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
        "components": { "schemas": schemas, "securitySchemes": { "key": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "qk_<id>_<secret>, or a JWT",
            "description": KEY,
        } } },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_has_an_example_and_every_reference_leads_somewhere() {
        let document = document(Build::Demo);
        let text = document.to_string();
        for reference in text.split("\"#/").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(document.pointer(&format!("/{reference}")).is_some(), "{reference}");
        }
        for operation in operations::all() {
            for answer in &operation.answers {
                let is_empty = answer.status == axum::http::StatusCode::NO_CONTENT;
                assert_eq!(answer.examples.is_empty(), is_empty, "{}", operation.id);
            }
        }
    }

    #[test]
    fn production_documents_no_method_of_the_demonstration() {
        for (path, text) in api_documents() {
            assert_eq!(text.contains("card_declined"), !path.contains("/production/"), "{path}");
        }
    }
}
