use super::{following::open, *};
use crate::keys::{ApiKey, ApiKeys, Role, STALE_AFTER};
use axum::{extract::ConnectInfo, http::request::Builder};
use events::OrderId;
use messaging::SystemEnv;
use std::{net::SocketAddr, time::Duration};
use tokio::time;

const SOON: Duration = Duration::from_secs(60);

async fn locked() -> Bench {
    let mut bench = Bench::new().await;
    bench.settings.api_keys = ApiKeys::Required;
    bench
}

/// Always with the same id, so that two answers may be compared.
fn with(request: Builder, key: &str) -> Request<Body> {
    let request = request.header("x-request-id", "the-same");
    request.header(header::AUTHORIZATION, format!("Bearer {key}")).body(Body::empty()).unwrap()
}

async fn get_as(router: &Router, key: &str, path: &str) -> Answer {
    ask(router, with(Request::get(path), key)).await
}

async fn cancel_as(router: &Router, key: &str, id: &str) -> Answer {
    ask(router, with(Request::post(format!("/orders/{id}/cancel")), key)).await
}

async fn post_as(router: &Router, key: &str, idempotency_key: Option<&str>) -> Answer {
    let mut request = post(order().to_string());
    let bearer = format!("Bearer {key}").parse().unwrap();
    request.headers_mut().insert(header::AUTHORIZATION, bearer);
    if let Some(key) = idempotency_key {
        request.headers_mut().insert("idempotency-key", key.parse().unwrap());
    }
    ask(router, request).await
}

async fn placed_as(router: &Router, key: &str) -> String {
    let answer = post_as(router, key, None).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{:?}", answer.body);
    answer.json()["order_id"].as_str().unwrap().into()
}

fn ids(list: &Answer) -> Vec<String> {
    let orders = list.json()["orders"].as_array().unwrap().clone();
    orders.iter().map(|order| order["order_id"].as_str().unwrap().to_owned()).collect()
}

/// Waits until a request with this key gets this answer.
#[track_caller]
fn soon(router: &Router, key: &str, status: u16) -> impl Future<Output = Duration> {
    let began = time::Instant::now();
    async move {
        while get_as(router, key, "/orders").await.status.as_u16() != status {
            assert!(began.elapsed() < SOON, "it takes more than {SOON:?}");
            time::sleep(Duration::from_millis(20)).await;
        }
        began.elapsed()
    }
}

#[tokio::test]
async fn without_a_valid_key_nothing_is_told() {
    let bench = locked().await;
    let good = bench.key("shop", Role::Client).await;
    let revoked = bench.key("shop", Role::Client).await;
    let pool = &bench.context.message_store.pool;
    assert!(store::revoke_key(pool, &revoked[3..19]).await.unwrap());
    let router = bench.router();
    let id = placed_as(&router, &good).await;
    let missing = get(&router, "/orders").await;
    missing.problem(401);
    assert_eq!(missing.json()["type"], "urn:problem-type:quadrille:key-missing");
    assert_eq!(missing.header(header::WWW_AUTHENTICATE), "Bearer realm=\"orders\"");

    let unknown = ApiKey::new(&SystemEnv).to_string();
    // The id of one key with the secret of another.
    let mixed = format!("{}{}", &good[..20], &unknown[20..]);
    let invalid = get_as(&router, &unknown, "/orders").await;
    invalid.problem(401);
    for key in [&revoked, &mixed, "", "qk_", &good[..83], &format!("{good} {good}")] {
        let answer = get_as(&router, key, &format!("/orders/{id}")).await;
        answer.problem(401);
        assert_eq!(answer.body, invalid.body, "{key}");
        assert_eq!(answer.header(header::WWW_AUTHENTICATE), "Bearer realm=\"orders\"");
    }
    for scheme in ["Basic", "Token", "Bearer\u{9}", ""] {
        let value = format!("{scheme} {good}");
        let request = Request::get("/orders").header(header::AUTHORIZATION, value);
        let answer = ask(&router, request.body(Body::empty()).unwrap()).await;
        answer.problem(401);
        assert!(answer.json()["detail"].as_str().unwrap().contains("must be `Bearer qk_…`"));
    }
    let twice = Request::get("/orders").header(header::AUTHORIZATION, format!("Bearer {good}"));
    ask(&router, with(twice, &good)).await.problem(401);
    // Neither in the address nor in the page's cookie.
    get(&router, &format!("/orders?key={good}&access_token={good}")).await.problem(401);
    let cookie = Request::get("/orders").header(header::COOKIE, format!("quadrille_key={good}"));
    ask(&router, cookie.body(Body::empty()).unwrap()).await.problem(401);
    let lower = Request::get("/orders").header(header::AUTHORIZATION, format!("bearer {good}"));
    assert_eq!(ask(&router, lower.body(Body::empty()).unwrap()).await.status, StatusCode::OK);
}

#[tokio::test]
async fn only_health_and_the_contract_are_for_everybody() {
    const OPEN: [&str; 4] = ["/healthz", "/readyz", "/openapi.json", "/docs"];
    let router = locked().await.router();
    let paths = DOCUMENT["paths"].as_object().unwrap();
    let operations = paths.iter().flat_map(|(path, all)| {
        all.as_object().unwrap().keys().map(move |method| (path.clone(), method.clone()))
    });
    for (path, method) in operations {
        let method: Method = method.to_uppercase().parse().unwrap();
        let request = Request::builder().method(method).uri(path.replace("{id}", "x"));
        let status = ask(&router, request.body(Body::empty()).unwrap()).await.status;
        assert_eq!(status != StatusCode::UNAUTHORIZED, OPEN.contains(&&*path), "{path}: {status}");
    }
}

#[tokio::test]
async fn anothers_order_is_answered_as_one_that_does_not_exist() {
    let bench = locked().await;
    let (own, other) =
        (bench.key("shop", Role::Client).await, bench.key("rival", Role::Client).await);
    let router = bench.router();
    let id = placed_as(&router, &own).await;
    let without = bench.placed().await;
    let none = "01a1fcc6-99ef-7b1d-a6ad-3fde23bb25c1";
    for path in ["/orders/ID", "/orders/ID/events"] {
        let unknown = get_as(&router, &other, &path.replace("ID", none)).await;
        for theirs in [&id, &without.to_string()] {
            let answer = get_as(&router, &other, &path.replace("ID", theirs)).await;
            answer.problem(404);
            let text = String::from_utf8_lossy(&answer.body).replace(theirs, none);
            assert_eq!(text.as_bytes(), unknown.body, "{path}");
            assert_eq!(answer.headers, unknown.headers);
        }
    }
    let unknown = cancel_as(&router, &other, none).await;
    let answer = cancel_as(&router, &other, &id).await;
    answer.problem(404);
    let text = String::from_utf8_lossy(&answer.body).replace(&id, none);
    assert_eq!((text.as_bytes(), &answer.headers), (&unknown.body[..], &unknown.headers));
    assert_eq!(bench.count("SELECT count(*) FROM orders WHERE facts @? '$[*] ? (@.event == \"order.cancel-requested\")'").await, 0);

    assert_eq!(ids(&get_as(&router, &other, "/orders").await), Vec::<String>::new());
    let customer = order()["customer_id"].as_str().unwrap().to_owned();
    let filtered = format!("/orders?customer_id={customer}&status=PENDING");
    assert_eq!(ids(&get_as(&router, &other, &filtered).await), Vec::<String>::new());
    assert_eq!(ids(&get_as(&router, &own, &filtered).await), std::slice::from_ref(&id));
    assert_eq!(get_as(&router, &own, &format!("/orders/{id}")).await.status, StatusCode::OK);
    assert_eq!(cancel_as(&router, &own, &id).await.status, StatusCode::ACCEPTED);
    assert_eq!(bench.count("SELECT count(*) FROM acts").await, 0, "a client is no operator");
}

#[tokio::test]
async fn a_client_has_its_own_idempotency_keys_whichever_key_it_uses() {
    let bench = locked().await;
    let (one, again, other) = (
        bench.key("shop", Role::Client).await,
        bench.key("shop", Role::Client).await,
        bench.key("rival", Role::Client).await,
    );
    let router = bench.router();
    let first = post_as(&router, &one, Some("k")).await;
    let repeated = post_as(&router, &again, Some("k")).await;
    assert_eq!((first.status, &first.body), (StatusCode::CREATED, &repeated.body));
    let others = post_as(&router, &other, Some("k")).await;
    assert_eq!(others.status, StatusCode::CREATED);
    assert_ne!(others.json()["order_id"], first.json()["order_id"]);
    assert_eq!(bench.count("SELECT count(*) FROM orders").await, 2);
}

#[tokio::test]
async fn a_retry_of_a_request_from_before_keys_were_required_makes_no_second_order() {
    let mut bench = Bench::new().await;
    let first = ask(&bench.router(), post_with_key(&order(), "k")).await;
    bench.settings.api_keys = ApiKeys::Required;
    let key = bench.key("shop", Role::Client).await;
    let router = bench.router();
    let retried = post_as(&router, &key, Some("k")).await;
    assert_eq!((retried.status, &retried.body), (StatusCode::CREATED, &first.body));
    assert_eq!(bench.count("SELECT count(*) FROM orders").await, 1);

    // Another content is another client's key: it is neither refused nor answered for it.
    let mut other = order();
    other["items"][0]["quantity"] = json!(3);
    let mut request = post_with_key(&other, "k");
    let bearer = format!("Bearer {key}").parse().unwrap();
    request.headers_mut().insert(header::AUTHORIZATION, bearer);
    let new = ask(&router, request).await;
    assert_eq!(new.status, StatusCode::CREATED);
    assert_ne!(new.json()["order_id"], first.json()["order_id"]);
    post_as(&router, &key, Some("k")).await.problem(422);
}

#[tokio::test]
async fn a_role_does_what_it_may_and_no_more() {
    let bench = locked().await;
    let (client, viewer, operator) = (
        bench.key("shop", Role::Client).await,
        bench.key("board", Role::Viewer).await,
        bench.key("anna", Role::Operator).await,
    );
    let router = bench.router();
    let id = placed_as(&router, &client).await;
    for key in [&viewer, &operator] {
        assert_eq!(ids(&get_as(&router, key, "/orders").await), std::slice::from_ref(&id));
        assert_eq!(get_as(&router, key, &format!("/orders/{id}")).await.status, StatusCode::OK);
        assert_eq!(get_as(&router, key, "/metrics").await.status, StatusCode::OK);
    }
    let refused = get_as(&router, &client, "/metrics").await;
    refused.problem(403);
    let detail = "the role client does not allow this; it takes the role viewer or operator";
    assert_eq!(refused.json()["detail"], detail);
    post_as(&router, &viewer, None).await.problem(403);
    cancel_as(&router, &viewer, &id).await.problem(403);
    assert_eq!(bench.count("SELECT count(*) FROM acts").await, 0);

    let path = format!("/orders/{id}/cancel?reason=fraud%20case%207%00");
    let answer = ask(&router, with(Request::post(path), &operator)).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    let acts = store::take_unlogged(&bench.context.message_store.pool, 9).await.unwrap();
    let [act] = &acts[..] else { panic!("{acts:?}") };
    assert_eq!((&*act.who, &*act.what, &*act.via), ("anna", "order.cancel", "api"));
    assert_eq!(act.order_id.unwrap().to_string(), id);
    assert_eq!(act.reason.as_deref(), Some("fraud case 7\u{fffd}"));
    assert_eq!(act.outcome.as_deref(), Some("accepted"));
    assert_eq!(act.key_id.as_deref(), Some(&operator[3..19]));
    let again = store::take_unlogged(&bench.context.message_store.pool, 9).await.unwrap();
    assert!(again.is_empty(), "each is logged once");
}

#[tokio::test]
async fn limits_are_a_clients_wherever_it_asks_from() {
    let mut bench = locked().await;
    bench.settings.http.rate_limit = 2;
    bench.settings.http.streams_per_client = 1;
    let (one, same, other) = (
        bench.key("shop", Role::Client).await,
        bench.key("shop", Role::Client).await,
        bench.key("rival", Role::Client).await,
    );
    let router = bench.router();
    let from = async |peer: &str, key: &str, path: &str| {
        let peer: SocketAddr = peer.parse().unwrap();
        let request = with(Request::get(path).extension(ConnectInfo(peer)), key);
        router.clone().oneshot(request).await.unwrap()
    };
    // The first waits for the first look at the keys.
    assert_eq!(from("192.0.2.9:1", &other, "/orders/x").await.status(), 404);
    time::pause();
    assert_eq!(from("192.0.2.1:1", &one, "/orders/x").await.status(), 404);
    assert_eq!(from("192.0.2.2:1", &same, "/orders/x").await.status(), 404);
    assert_eq!(from("192.0.2.3:1", &one, "/orders/x").await.status(), 429);
    assert_eq!(from("192.0.2.1:1", &other, "/orders/x").await.status(), 404);
    // Guesses count against their address.
    let wrong = ApiKey::new(&SystemEnv).to_string();
    for status in [401, 401, 429] {
        assert_eq!(from("192.0.2.7:1", &wrong, "/orders/x").await.status(), status);
    }
    time::advance(Duration::from_secs(1)).await;
    let stream = from("192.0.2.1:1", &one, "/orders/events").await;
    assert_eq!(stream.status(), 200);
    assert_eq!(from("192.0.2.2:1", &same, "/orders/endings").await.status(), 429);
    assert_eq!(from("192.0.2.1:1", &other, "/orders/endings").await.status(), 200);
}

#[tokio::test]
async fn a_stream_of_all_orders_is_one_of_the_clients_own() {
    let bench = locked().await;
    let (own, other, viewer) = (
        bench.key("shop", Role::Client).await,
        bench.key("rival", Role::Client).await,
        bench.key("board", Role::Viewer).await,
    );
    let router = bench.router();
    let bearer = |key: &str| format!("Bearer {key}");
    let news = |key: &str| Request::get("/orders/events").header("authorization", bearer(key));
    let ends = |key: &str| Request::get("/orders/endings").header("authorization", bearer(key));
    let mut streams = (open(&router, news(&own)).await, open(&router, news(&viewer)).await);
    let mut endings = (open(&router, ends(&own)).await, open(&router, ends(&viewer)).await);
    let theirs: OrderId = placed_as(&router, &other).await.parse().unwrap();
    bench.confirm(theirs).await;
    let ours: OrderId = placed_as(&router, &own).await.parse().unwrap();
    bench.confirm(ours).await;
    assert_eq!(streams.0.news().await.0, ours);
    assert_eq!(streams.1.news().await.0, theirs);
    let ended = |event: Option<(String, Value)>| event.unwrap().1[0]["order_id"].clone();
    assert_eq!(ended(endings.0.next().await), json!(ours));
    assert_eq!(ended(endings.1.next().await), json!(theirs));

    // What a reconnecting client has missed is its own too.
    let last = "00000000-0000-7000-8000-000000000000";
    let back = open(&router, news(&own).header("last-event-id", last)).await;
    let mut back = back;
    for _ in 0..4 {
        assert_eq!(back.news().await.0, ours);
    }
}

#[tokio::test]
async fn a_key_is_valid_within_two_seconds_and_no_longer_so_once_revoked() {
    let bench = locked().await;
    let viewer = bench.key("board", Role::Viewer).await;
    let router = bench.router();
    soon(&router, &viewer, 200).await;
    let key = bench.key("shop", Role::Client).await;
    soon(&router, &key, 200).await;
    let bearer = format!("Bearer {key}");
    let request = Request::get("/orders/events").header("authorization", bearer);
    let mut stream = open(&router, request).await;
    store::revoke_key(&bench.context.message_store.pool, &key[3..19]).await.unwrap();
    soon(&router, &key, 401).await;
    let ended = time::timeout(SOON, stream.next()).await;
    assert_eq!(ended.expect("its stream ends with it"), None);
    assert_eq!(get_as(&router, &viewer, "/orders").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_request_asks_no_database_about_its_key_until_the_keys_are_old() {
    let bench = locked().await;
    let key = bench.key("shop", Role::Client).await;
    let router = bench.router();
    get_as(&router, &key, "/orders/x").await.problem(404);
    bench.lose_database();
    for _ in 0..50 {
        get_as(&router, &key, "/orders/x").await.problem(404);
    }
    time::pause();
    time::advance(STALE_AFTER / 2).await;
    get_as(&router, &key, "/orders/x").await.problem(404);
    // A key may have been revoked meanwhile.
    time::advance(STALE_AFTER).await;
    get_as(&router, &key, "/orders/x").await.problem(503);
}

#[tokio::test]
async fn without_keys_a_header_changes_nothing() {
    let router = Bench::new().await.router();
    let key = ApiKey::new(&SystemEnv).to_string();
    assert_eq!(get_as(&router, &key, "/orders").await.status, StatusCode::OK);
    assert_eq!(get(&router, "/metrics").await.status, StatusCode::OK);
}
