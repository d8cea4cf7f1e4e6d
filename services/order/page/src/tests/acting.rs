use super::*;
use axum::{
    body::to_bytes,
    http::{Response, header, request::Builder},
};
use order::keys::ApiKeys;

const ACT: &str = "/page/dead-letters/payment.order-created.dlq/replay";
/// Where a request may act, the page's operator is the next thing that is missing.
const MAY_ACT: u16 = 404;
const HERE: &str = "127.0.0.1:9";

fn acting() -> Arc<Acting> {
    let settings = PageSettings {
        demo: true,
        operator_amqp_url: None,
        operator_amqp_url_file: None,
        rabbitmq_page: String::new(),
        #[cfg(feature = "demo")]
        demo_traffic: 0,
    };
    Arc::new(Acting::new(&settings).unwrap())
}

fn router_that_acts(bench: &Bench, acting: Arc<Acting>) -> Router {
    let feed = feed(bench);
    let acting = Some(acting);
    bench.bare_router(|app| {
        routes(Page {
            app: app.clone(),
            feed,
            acting,
            traffic: Traffic::new(0),
            rabbitmq_page: "".into(),
        })
    })
}

async fn ask(router: &Router, peer: &str, request: Builder) -> Response<Body> {
    let peer: SocketAddr = peer.parse().unwrap();
    let mut request = request.extension(ConnectInfo(peer)).body(Body::empty()).unwrap();
    let host = HeaderValue::from_static("localhost");
    request.headers_mut().entry(header::HOST).or_insert(host);
    router.clone().oneshot(request).await.unwrap()
}

fn with(mut request: Builder, headers: &[(&str, &str)]) -> Builder {
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request
}

async fn text(answer: Response<Body>) -> String {
    let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
    String::from_utf8(body.into()).unwrap()
}

fn token_in(page: &str) -> Option<String> {
    let (_, rest) = page.split_once("data-token=\"")?;
    Some(rest.split('"').next()?.to_owned())
}

#[tokio::test]
async fn without_keys_no_header_makes_a_request_near() {
    let mut bench = Bench::new().await;
    bench.settings.http.allowed_hosts = "shop.example".parse().unwrap();
    bench.settings.http.trusted_proxies = "127.0.0.0/8".parse().unwrap();
    let acting = acting();
    let router = router_that_acts(&bench, acting.clone());
    let page = text(ask(&router, HERE, Request::get("/")).await).await;
    let token = token_in(&page).unwrap();
    let act = async |peer: &str, headers: &[(&str, &str)]| {
        let request = Request::post(ACT).header("x-csrf-token", &token);
        ask(&router, peer, with(request, headers)).await.status().as_u16()
    };
    assert_eq!(act(HERE, &[]).await, MAY_ACT);
    assert_eq!(act(HERE, &[("host", "127.0.0.1:3001")]).await, MAY_ACT);
    let own = [("host", "localhost:3001"), ("origin", "http://localhost:3001")];
    assert_eq!(act(HERE, &own).await, MAY_ACT);
    assert_eq!(act(HERE, &own[1..]).await, 403, "a page of another port");
    assert_eq!(ask(&router, HERE, Request::post(ACT)).await.status(), 403, "without the token");
    for headers in [
        [("host", "shop.example")],
        // Each of them is written by some proxy.
        [("x-forwarded-for", "127.0.0.1")],
        [("x-forwarded-for", "")],
        [("x-forwarded-host", "localhost")],
        [("x-forwarded-proto", "http")],
        [("forwarded", "for=127.0.0.1")],
        [("via", "1.1 proxy")],
        [("x-real-ip", "127.0.0.1")],
        // A proxy that renames the host leaves the page's own.
        [("origin", "https://shop.example")],
        [("origin", "http://localhost.evil.example")],
        [("origin", "null")],
    ] {
        assert_eq!(act(HERE, &headers).await, 403, "{headers:?}");
    }
    for headers in [&[][..], &[("x-forwarded-for", "127.0.0.1")], &[("host", "127.0.0.1")]] {
        assert_eq!(act("203.0.113.9:9", headers).await, 403, "{headers:?}");
    }
    assert_eq!(act("127.0.0.1:9", &[("host", "evil.example")]).await, 421);
}

#[tokio::test]
async fn without_keys_there_is_nothing_to_sign_in_to() {
    let router = router_that_acts(&Bench::new().await, acting());
    let answer = ask(&router, HERE, Request::get("/page/sign-in")).await;
    assert_eq!(answer.status(), 303);
    assert_eq!(answer.headers()[header::LOCATION], "/");
}

#[tokio::test]
async fn with_keys_only_an_operator_acts_and_only_by_the_page() {
    let mut bench = Bench::new().await;
    bench.settings.api_keys = ApiKeys::Required;
    let (client, viewer, operator) = (
        bench.key("shop", Role::Client).await,
        bench.key("board", Role::Viewer).await,
        bench.key("anna", Role::Operator).await,
    );
    let other = bench.key("bert", Role::Operator).await;
    let router = router_that_acts(&bench, acting());
    let bearer = |key: &str| format!("Bearer {key}");
    let page = async |key: &str| {
        let request = Request::get("/").header(header::AUTHORIZATION, bearer(key));
        ask(&router, "203.0.113.9:9", request).await
    };
    assert_eq!(page(&client).await.status(), 403);
    assert_eq!(token_in(&text(page(&viewer).await).await), None);
    let token = token_in(&text(page(&operator).await).await).unwrap();
    // Another replica makes the same.
    let replica = router_that_acts(&bench, acting());
    let request = Request::get("/").header(header::AUTHORIZATION, bearer(&operator));
    assert_eq!(token_in(&text(ask(&replica, HERE, request).await).await).unwrap(), token);

    let act = async |key: Option<&str>, token: &str| {
        let mut request = Request::post(ACT).header("x-csrf-token", token);
        if let Some(key) = key {
            request = request.header(header::AUTHORIZATION, bearer(key));
        }
        // From this machine: that is no role.
        ask(&router, HERE, request).await.status().as_u16()
    };
    assert_eq!(act(Some(&operator), &token).await, MAY_ACT);
    assert_eq!(act(Some(&operator), "").await, 403);
    assert_eq!(act(Some(&other), &token).await, 403, "the token is another's");
    assert_eq!(act(Some(&viewer), &token).await, 403);
    assert_eq!(act(Some(&client), &token).await, 403);
    assert_eq!(act(None, &token).await, 401);
    for path in ["/page/frames", "/page/orders/x"] {
        let request = Request::get(path).header(header::AUTHORIZATION, bearer(&client));
        assert_eq!(ask(&router, HERE, request).await.status(), 403, "{path}");
        assert_eq!(ask(&router, HERE, Request::get(path)).await.status(), 401, "{path}");
    }
}

#[tokio::test]
async fn a_browser_exchanges_a_key_for_a_cookie_that_opens_the_page_alone() {
    let mut bench = Bench::new().await;
    bench.settings.api_keys = ApiKeys::Required;
    let operator = bench.key("anna", Role::Operator).await;
    let client = bench.key("shop", Role::Client).await;
    bench.settings.http.allowed_hosts = "shop.example".parse().unwrap();
    let router = router_that_acts(&bench, acting());
    let first = ask(&router, HERE, Request::get("/")).await;
    assert_eq!(first.status(), 303);
    let form = first.headers()[header::LOCATION].to_str().unwrap().to_owned();
    let shown = text(ask(&router, HERE, Request::get(&form)).await).await;
    assert!(shown.contains("/page/sign-in.js"), "{shown}");
    assert_eq!(ask(&router, HERE, Request::get("/page/sign-in.js")).await.status(), 200);

    let sign_in = async |key: &str, origin: &str| {
        let request = Request::post(&form).header(header::AUTHORIZATION, format!("Bearer {key}"));
        let (_, host) = origin.split_once("://").unwrap();
        ask(&router, HERE, request.header("origin", origin).header(header::HOST, host)).await
    };
    assert_eq!(sign_in(&client, "http://localhost").await.status(), 403);
    assert_eq!(sign_in("qk_x", "http://localhost").await.status(), 401);
    // As a foreign form would.
    let form_post = Request::post(&form).header("content-type", "text/plain");
    assert_eq!(ask(&router, HERE, form_post).await.status(), 401);
    let answer = sign_in(&operator, "https://shop.example").await;
    assert_eq!(answer.status(), 204);
    let secure = answer.headers()[header::SET_COOKIE].to_str().unwrap().to_owned();
    assert!(secure.ends_with("; Path=/; HttpOnly; SameSite=Strict; Secure"), "{secure}");
    let plain = sign_in(&operator, "http://localhost").await;
    let plain = plain.headers()[header::SET_COOKIE].to_str().unwrap().to_owned();
    assert!(plain.ends_with("; Path=/; HttpOnly; SameSite=Strict"), "{plain}");

    let cookie = plain.split(';').next().unwrap();
    let signed = |request: Builder| request.header(header::COOKIE, format!("a=b; {cookie}"));
    let page = ask(&router, HERE, signed(Request::get("/"))).await;
    let page = text(page).await;
    let token = token_in(&page).unwrap();
    assert!(page.contains("sign out anna") && !page.contains(&operator[20..]), "{page}");
    // A browser sends the cookie unasked, and the token it does not.
    assert_eq!(ask(&router, HERE, signed(Request::post(ACT))).await.status(), 403);
    let act = signed(Request::post(ACT)).header("x-csrf-token", token);
    assert_eq!(ask(&router, HERE, act).await.status(), MAY_ACT);
    let id = bench.placed().await;
    for path in ["/orders", "/metrics", "/orders/events"] {
        assert_eq!(ask(&router, HERE, signed(Request::get(path))).await.status(), 401, "{path}");
    }
    let cancel = signed(Request::post(format!("/orders/{id}/cancel")));
    assert_eq!(ask(&router, HERE, cancel).await.status(), 401);
    let out = ask(&router, HERE, signed(Request::delete(&form))).await;
    assert!(out.headers()[header::SET_COOKIE].to_str().unwrap().ends_with("; Max-Age=0"));
}
