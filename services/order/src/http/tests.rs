//! Tests of the router from a client's point of view.

mod cancelling;
mod documents;
mod edges;
mod following;
mod fuzz;
mod keys;
mod limiting;
mod placing;
mod reading;

use crate::{store, testing::Bench};
use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    http::{HeaderMap, Method, Request, StatusCode, header},
};
use serde_json::{Value, json};
use std::sync::LazyLock;
use tower::ServiceExt;

static DOCUMENT: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(super::docs::OPENAPI).unwrap());

/// What came back.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("the body is JSON")
    }

    fn header(&self, name: impl header::AsHeaderName) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// What every refusal has in common; returns its `errors`.
    #[track_caller]
    fn problem(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{:?}", self.body);
        assert_eq!(self.header(header::CONTENT_TYPE), "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["status"], status);
        for member in ["type", "title", "detail"] {
            assert!(problem[member].as_str().is_some_and(|text| !text.is_empty()), "{problem}");
        }
        problem["errors"].clone()
    }
}

async fn ask(router: &Router, request: Request<Body>) -> Answer {
    let method = request.method().as_str().to_ascii_lowercase();
    let path = request.uri().path().to_owned();
    let response = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let answer = Answer { status: parts.status, headers: parts.headers, body };
    is_documented(&method, &path, &answer);
    answer
}

/// Checks that every answer is in the contract: the status, the media type, and for a refusal an
/// example of its kind.
#[track_caller]
fn is_documented(method: &str, path: &str, answer: &Answer) {
    let paths = DOCUMENT["paths"].as_object().unwrap();
    let fits = |known: &&String| {
        let (known, asked) = (known.split('/'), path.split('/'));
        known.clone().count() == asked.clone().count()
            && known
                .zip(asked)
                .all(|(known, asked)| (known == "{id}" && !asked.is_empty()) || known == asked)
    };
    let known = paths.contains_key(path).then_some(path);
    let known = known.or_else(|| paths.keys().find(fits).map(String::as_str));
    let Some(operation) = known.and_then(|known| paths[known].get(method)) else { return };
    let promised = &operation["responses"][answer.status.as_str()];
    assert!(promised.is_object(), "{method} {path} answers {}, undocumented", answer.status);
    if answer.status == StatusCode::NO_CONTENT {
        assert!(promised["content"].is_null() && answer.body.is_empty());
        return;
    }
    let media_type = answer.header(header::CONTENT_TYPE).split(';').next().unwrap();
    let content = &promised["content"][media_type];
    assert!(content.is_object(), "{method} {path} answers {media_type}, undocumented");
    if media_type == "application/problem+json" {
        let kind = &answer.json()["type"];
        let mut examples = content["examples"].as_object().unwrap().values();
        assert!(
            examples.any(|example| example["value"]["type"] == *kind),
            "{method} {path} answers {kind}, which no example shows"
        );
    }
}

async fn get(router: &Router, path: &str) -> Answer {
    ask(router, Request::get(path).body(Body::empty()).unwrap()).await
}

fn post(body: impl Into<Body>) -> Request<Body> {
    Request::post("/orders")
        .header(header::CONTENT_TYPE, "application/json")
        .body(body.into())
        .unwrap()
}

fn post_with_key(body: &Value, key: &str) -> Request<Body> {
    let mut request = post(body.to_string());
    request.headers_mut().insert("idempotency-key", key.parse().unwrap());
    request
}

/// The order of the README.
fn order() -> Value {
    json!({
        "customer_id": "123e4567-e89b-12d3-a456-426614174000",
        "payment_method": "credit_card",
        "items": [{
            "product_id": "00000000-0000-0000-0000-000000000001",
            "quantity": 2,
            "unit_price": json_number("49.90"),
        }],
    })
}

/// With its digits as they are written.
fn json_number(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[tokio::test]
async fn what_is_not_served_is_told_as_a_problem() {
    let router = Bench::new().await.router();
    get(&router, "/nothing").await.problem(404);
    get(&router, "/orders/").await.problem(404);
    for (method, path) in [("DELETE", "/orders"), ("PUT", "/orders/x"), ("POST", "/healthz")] {
        let method: Method = method.parse().unwrap();
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        let answer = ask(&router, request).await;
        answer.problem(405);
        assert!(answer.header(header::ALLOW).contains("GET"), "{path}");
    }
}

#[tokio::test]
async fn alive_needs_nobody_and_ready_needs_database_and_broker() {
    let router = Bench::new().await.router();
    let alive = get(&router, "/healthz").await;
    assert_eq!((alive.status, alive.json()), (StatusCode::OK, json!({ "status": "alive" })));
    let ready = get(&router, "/readyz").await;
    ready.problem(503);
    assert_eq!(ready.header(header::RETRY_AFTER), "1");
}

#[tokio::test]
async fn without_a_database_every_route_says_so() {
    let bench = Bench::new().await;
    let order_id = bench.placed().await;
    bench.lose_database();
    let router = bench.router();
    let cancel = format!("/orders/{order_id}/cancel");
    let requests = [
        post(order().to_string()),
        Request::post(cancel).body(Body::empty()).unwrap(),
        Request::get("/orders").body(Body::empty()).unwrap(),
        Request::get(format!("/orders/{order_id}")).body(Body::empty()).unwrap(),
        Request::get(format!("/orders/{order_id}/events")).body(Body::empty()).unwrap(),
    ];
    for request in requests {
        let answer = ask(&router, request).await;
        answer.problem(503);
        assert_eq!(answer.header(header::RETRY_AFTER), "1");
    }
}
