//! Tests of what every answer has, and of pages of other origins.

use super::*;
use axum::http::HeaderName;
use service::http::Encrypted;

const OURS: &str = "http://127.0.0.1:3001";

fn asked(method: &str, path: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path).header("host", "127.0.0.1:3001");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::empty()).unwrap()
}

#[tokio::test]
async fn every_answer_and_every_problem_has_the_id_of_its_request() {
    let router = Bench::new().await.router();
    for (path, status) in [("/healthz", 200), ("/orders/x", 404), ("/nothing", 404)] {
        let answer = ask(&router, asked("GET", path, &[("x-request-id", "mine:1")])).await;
        assert_eq!((answer.status.as_u16(), answer.header("x-request-id")), (status, "mine:1"));
        if status != 200 {
            answer.problem(status);
            assert_eq!(answer.json()["request_id"], "mine:1");
        }
    }
    let answer = ask(&router, asked("GET", "/nothing", &[("x-request-id", "a \"b\"")])).await;
    let made = answer.header("x-request-id");
    assert!(made.parse::<uuid::Uuid>().is_ok(), "{made}");
    assert_eq!(answer.json()["request_id"], made);
}

#[tokio::test]
async fn every_answer_is_what_its_media_type_says_and_is_kept_by_nobody() {
    let router = Bench::new().await.router();
    for path in ["/orders", "/orders/x", "/healthz", "/metrics", "/nothing", "/docs"] {
        let answer = ask(&router, asked("GET", path, &[])).await;
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("referrer-policy"), "no-referrer", "{path}");
        assert_eq!(answer.header("cache-control"), "no-store", "{path}");
        let policy = answer.header("content-security-policy");
        assert!(policy.contains("default-src 'none'"), "{path}: {policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{path}: {policy}");
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(answer.header("strict-transport-security"), "", "{path}");
    }
}

#[tokio::test]
async fn only_over_https_and_under_a_name_of_the_world_is_https_asked_for_ever_after() {
    let mut bench = Bench::new().await;
    bench.settings.http.allowed_hosts = "shop.example".parse().unwrap();
    let router = bench.router();
    for (host, is_encrypted, wanted) in [
        ("shop.example", true, "max-age=31536000"),
        ("shop.example", false, ""),
        ("localhost:3001", true, ""),
    ] {
        let mut request = Request::get("/docs").header("host", host).body(Body::empty()).unwrap();
        if is_encrypted {
            request.extensions_mut().insert(Encrypted);
        }
        let answer = ask(&router, request).await;
        assert_eq!(answer.header("strict-transport-security"), wanted, "{host}");
        let page = String::from_utf8(answer.body.into()).unwrap();
        let scheme = if is_encrypted { "https" } else { "http" };
        assert!(page.contains(&format!("BASE={scheme}://{host}")), "{host}");
    }
}

fn allowed(answer: &Answer) -> [String; 3] {
    ["access-control-allow-origin", "access-control-allow-headers", "vary"]
        .map(|name| answer.header(HeaderName::from_static(name)).to_owned())
}

#[tokio::test]
async fn pages_of_other_origins_read_nothing_unless_they_are_named() {
    let mut bench = Bench::new().await;
    let preflight = [
        ("origin", "https://shop.example"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "authorization"),
    ];
    let router = bench.router();
    let closed = ask(&router, asked("OPTIONS", "/orders", &preflight)).await;
    closed.problem(405);
    assert_eq!(allowed(&closed), ["", "", ""]);
    let read = ask(&router, asked("GET", "/orders", &preflight[..1])).await;
    assert_eq!((read.status.as_u16(), allowed(&read)[0].as_str()), (200, ""));

    bench.settings.http.cors_origins = "https://shop.example".parse().unwrap();
    let router = bench.router();
    let open = ask(&router, asked("OPTIONS", "/orders", &preflight)).await;
    assert_eq!((open.status.as_u16(), open.body.len()), (204, 0));
    let [origin, headers, vary] = allowed(&open);
    assert_eq!((origin.as_str(), vary.as_str()), ("https://shop.example", "origin"));
    assert!(headers.contains("authorization") && headers.contains("idempotency-key"), "{headers}");
    assert_eq!(open.header("access-control-allow-credentials"), "", "there are no cookies");
    let read = ask(&router, asked("GET", "/orders/x", &preflight[..1])).await;
    read.problem(404);
    assert_eq!(allowed(&read)[0], "https://shop.example");
    // An answer that a cache keeps for one origin is not for another.
    for other in ["https://evil.example", "http://shop.example", "null", OURS] {
        let read = ask(&router, asked("GET", "/orders/x", &[("origin", other)])).await;
        assert_eq!(allowed(&read), ["", "", "origin"], "{other}");
    }
}

#[tokio::test]
async fn a_page_of_another_origin_changes_nothing_unless_it_is_named() {
    let mut bench = Bench::new().await;
    let order_id = bench.placed().await;
    let cancel = format!("/orders/{order_id}/cancel");
    let router = bench.router();
    for foreign in [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        let answer = ask(&router, asked("POST", &cancel, &[foreign])).await;
        answer.problem(403);
        assert_eq!(answer.json()["type"], "urn:problem-type:quadrille:foreign-origin");
    }
    bench.settings.http.cors_origins = "https://shop.example".parse().unwrap();
    let named = [("origin", "https://shop.example"), ("sec-fetch-site", "cross-site")];
    let answer = ask(&bench.router(), asked("POST", &cancel, &named)).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    for own in [&[("origin", OURS)][..], &[("sec-fetch-site", "same-origin")], &[]] {
        let answer = ask(&router, asked("POST", &cancel, own)).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{own:?}");
    }
}
