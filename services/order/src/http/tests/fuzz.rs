//! Sends arbitrary requests: every answer follows the contract, and none is an internal error.

use super::*;
use crate::keys::ApiKeys;
use axum::{extract::ConnectInfo, http::HeaderValue};
use proptest::{
    prelude::*,
    sample::{Index, select},
    test_runner::{Config, TestRunner},
};
use std::net::SocketAddr;
use tokio::runtime::Runtime;

/// Each of so many cases; `PROPTEST_CASES` has more of them.
const CASES: u32 = 300;

/// Sends generated requests to a service of its own.
fn whatever<T: std::fmt::Debug>(
    of: impl Strategy<Value = T>,
    is_well: impl AsyncFn(&Bench, &Router, T),
) {
    whatever_with(ApiKeys::Off, of, is_well);
}

fn whatever_with<T: std::fmt::Debug>(
    api_keys: ApiKeys,
    of: impl Strategy<Value = T>,
    is_well: impl AsyncFn(&Bench, &Router, T),
) {
    let more = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    let cases = more.unwrap_or(CASES);
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let runtime = Runtime::new().unwrap();
    let bench = runtime.block_on(async {
        let mut bench = Bench::new().await;
        bench.settings.http.trusted_proxies = "127.0.0.0/8".parse().unwrap();
        bench.settings.api_keys = api_keys;
        let router = bench.router();
        (bench, router)
    });
    let tried = TestRunner::new(config).run(&of, move |value| {
        runtime.block_on(is_well(&bench.0, &bench.1, value));
        Ok(())
    });
    tried.unwrap_or_else(|why| panic!("{why}"));
}

fn number() -> impl Strategy<Value = Value> {
    let extremes = ["0", "-0", "1e400", "-1e-400", "1E+2147483648", "0.005", "99999999999999.995"];
    let any = "-?(0|[1-9][0-9]{0,40})(\\.[0-9]{1,40})?([eE][-+]?[0-9]{1,12})?";
    prop_oneof![
        select(extremes.to_vec()).prop_map(json_number),
        any.prop_map(|it| json_number(&it))
    ]
}

fn text() -> impl Strategy<Value = String> {
    let known = [
        "\0",
        "a\0b",
        "credit_card",
        "\u{feff}",
        "\u{202e}",
        "00000000-0000-0000-0000-000000000001",
    ];
    prop_oneof![any::<String>(), select(known.to_vec()).prop_map(Into::into)]
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        number(),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        let names =
            ["customer_id", "payment_method", "items", "product_id", "quantity", "unit_price"];
        let name = prop_oneof![select(names.to_vec()).prop_map(String::from), text()];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::hash_map(name, inner, 0..6).prop_map(|it| it.into_iter().collect()),
        ]
    })
}

/// A good order of which one part is something else.
fn nearly_an_order() -> impl Strategy<Value = Vec<u8>> {
    let places = [
        "/customer_id",
        "/payment_method",
        "/items",
        "/items/0",
        "/items/0/product_id",
        "/items/0/quantity",
        "/items/0/unit_price",
        "",
    ];
    (select(places.to_vec()), any_json()).prop_map(|(place, other)| {
        let mut body = order();
        *body.pointer_mut(place).unwrap() = other;
        body.to_string().into()
    })
}

/// A good order of which some bytes are others, or missing.
fn broken_order() -> impl Strategy<Value = Vec<u8>> {
    let broken = prop::collection::vec((any::<Index>(), any::<Option<u8>>()), 1..6);
    broken.prop_map(|broken| {
        let mut body = order().to_string().into_bytes();
        for (place, byte) in broken {
            let place = place.index(body.len());
            match byte {
                Some(byte) => body[place] = byte,
                None => drop(body.remove(place)),
            }
        }
        body
    })
}

fn any_header() -> impl Strategy<Value = HeaderValue> {
    let bytes = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..300),
        "[ -~]{0,300}".prop_map(String::into_bytes),
        (any::<u8>(), 0..16_000_usize).prop_map(|(byte, count)| vec![byte; count]),
    ];
    bytes.prop_filter_map("no header", |bytes| HeaderValue::from_bytes(&bytes).ok())
}

/// Placed orders can be read, and their events can be published.
async fn is_placed_or_refused(bench: &Bench, router: &Router, request: Request<Body>) {
    let answer = ask(router, request).await;
    if answer.status != StatusCode::CREATED {
        assert!([400, 409, 413, 415, 422].contains(&answer.status.as_u16()), "{}", answer.status);
        answer.problem(answer.status.as_u16());
        return;
    }
    let shown = get(router, answer.header(header::LOCATION)).await;
    assert_eq!(shown.json()["order_id"], answer.json()["order_id"]);
    let too_much = "SELECT count(*) FROM outbox
        WHERE length(trace) > 55 OR length(body) > 65536";
    assert_eq!(bench.count(too_much).await, 0);
}

#[test]
fn any_body() {
    let any_bytes = prop::collection::vec(any::<u8>(), 0..2000);
    let any_json = any_json().prop_map(|json| json.to_string().into_bytes());
    let bodies = prop_oneof![any_bytes, any_json, nearly_an_order(), broken_order()];
    whatever(bodies, async |bench, router, body| {
        is_placed_or_refused(bench, router, post(body)).await;
    });
}

#[test]
fn any_header_of_an_order() {
    let names = ["idempotency-key", "traceparent", "tracestate", "content-type", "x-forwarded-for"];
    let headers = prop::collection::vec((select(names.to_vec()), any_header()), 1..4);
    whatever(headers, async |bench, router, headers| {
        let mut request = post(order().to_string());
        for (name, value) in headers {
            request.headers_mut().append(name, value);
        }
        let peer: SocketAddr = ([127, 0, 0, 1], 1).into();
        request.extensions_mut().insert(ConnectInfo(peer));
        is_placed_or_refused(bench, router, request).await;
    });
}

#[test]
fn any_host() {
    whatever(any_header(), async |_, router, host| {
        let request = Request::get("/healthz").header(header::HOST, host);
        let request = request.body(Body::empty()).unwrap();
        let status = router.clone().oneshot(request).await.unwrap().status().as_u16();
        assert!([200, 400, 421].contains(&status), "{status}");
    });
}

#[test]
fn any_query_and_cursor() {
    let names = ["status", "customer_id", "limit", "cursor", "other", ""];
    let value = prop_oneof![
        "[0-9a-fA-F{}:-]{0,40}",
        "(%[0-9a-f]{2}){0,20}",
        "[!$&-;=?-Z_a-z~]{0,40}",
        any::<u128>().prop_map(|id| format!("{id:032x}")),
        select(vec!["CONFIRMED", "0", "200", "-1", "18446744073709551616"]).prop_map(Into::into),
    ];
    let queries = prop::collection::vec((select(names.to_vec()), value), 0..5);
    whatever(queries, async |_, router, query| {
        let query: Vec<_> = query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let answer = get(router, &format!("/orders?{}", query.join("&"))).await;
        assert!([200, 400].contains(&answer.status.as_u16()), "{}", answer.status);
    });
}

#[test]
fn any_path() {
    let paths = prop_oneof!["(%[0-9a-f]{2}){0,20}", "[!$&-;=@-Z_a-z~]{0,60}"];
    whatever(paths, async |_, router, path| {
        for after in ["", "/events"] {
            let request = Request::get(format!("/orders/{path}{after}"));
            let request = request.body(Body::empty()).unwrap();
            let status = router.clone().oneshot(request).await.unwrap().status().as_u16();
            assert!([200, 400, 404, 405].contains(&status), "{status}");
        }
    });
}

#[test]
fn any_last_event() {
    let ids = prop_oneof![
        any_header(),
        any::<u128>().prop_map(|id| format!("{id:032x}").parse().unwrap())
    ];
    whatever(ids, async |_, router, id| {
        let request = Request::get("/orders/events").header("last-event-id", &id);
        let request = request.body(Body::empty()).unwrap();
        assert_eq!(router.clone().oneshot(request).await.unwrap().status(), StatusCode::OK);
    });
}

#[test]
fn any_key() {
    let names = ["authorization", "cookie", "proxy-authorization", "x-api-key"];
    let nearly = "(Bearer|bearer|BEARER|Basic|quadrille_key)[ =]{0,2}qk_[0-9a-f]{16}_[0-9a-f]{64}";
    let values = prop_oneof![
        any_header(),
        nearly.prop_map(|text| text.parse().unwrap()),
        "(Bearer |quadrille_key=)[ -~]{0,100}".prop_map(|text| text.parse().unwrap()),
    ];
    let headers = prop::collection::vec((select(names.to_vec()), values), 0..4);
    whatever_with(ApiKeys::Required, headers, async |bench, router, headers| {
        let mut request = post(order().to_string());
        for (name, value) in headers {
            request.headers_mut().append(name, value);
        }
        ask(router, request).await.problem(401);
        assert_eq!(bench.count("SELECT count(*) FROM orders").await, 0);
    });
}
