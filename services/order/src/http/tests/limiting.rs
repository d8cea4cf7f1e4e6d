use super::*;
use axum::{body::HttpBody, extract::ConnectInfo, http::Version, middleware, routing};
use futures::{FutureExt, StreamExt, stream, stream::FuturesOrdered};
use service::http::survive_panics;
use std::{convert::Infallible, net::SocketAddr, time::Duration};
use tokio::time;

async fn get_from(router: &Router, peer: &str) -> Answer {
    let peer: SocketAddr = peer.parse().unwrap();
    let request = Request::get("/orders/nonsense").extension(ConnectInfo(peer));
    ask(router, request.body(Body::empty()).unwrap()).await
}

/// From a proxy at that address, which names the client.
async fn get_for(router: &Router, peer: &str, forwarded: &str) -> Answer {
    let peer: SocketAddr = peer.parse().unwrap();
    let request = Request::get("/orders/nonsense").header("x-forwarded-for", forwarded);
    ask(router, request.extension(ConnectInfo(peer)).body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn a_client_that_asks_too_often_waits_and_others_do_not() {
    let mut bench = Bench::new().await;
    bench.settings.http.rate_limit = 2;
    let router = bench.router();
    time::pause();
    get_from(&router, "192.0.2.1:1").await.problem(404);
    get_from(&router, "192.0.2.1:2").await.problem(404);
    let refused = get_from(&router, "192.0.2.1:3").await;
    refused.problem(429);
    assert_eq!(refused.header(header::RETRY_AFTER), "1");
    get_from(&router, "192.0.2.2:1").await.problem(404);

    time::advance(Duration::from_millis(500)).await;
    get_from(&router, "192.0.2.1:4").await.problem(404);
    get_from(&router, "192.0.2.1:5").await.problem(429);

    // One host may have any address of its network.
    get_from(&router, "[2001:db8::1]:1").await.problem(404);
    get_from(&router, "[2001:db8::2]:1").await.problem(404);
    get_from(&router, "[2001:db8::3]:1").await.problem(429);
    get_from(&router, "[2001:db8:0:1::3]:1").await.problem(404);
}

#[tokio::test]
async fn behind_a_trusted_proxy_each_client_is_limited_by_itself() {
    let mut bench = Bench::new().await;
    bench.settings.http.rate_limit = 1;
    bench.settings.http.trusted_proxies = "10.0.0.0/8".parse().unwrap();
    let router = bench.router();
    time::pause();
    get_for(&router, "10.0.0.1:1", "192.0.2.1").await.problem(404);
    get_for(&router, "10.0.0.1:2", "192.0.2.2").await.problem(404);
    // Addresses before the last one are written by the client itself.
    get_for(&router, "10.0.0.1:3", "192.0.2.9, 192.0.2.1").await.problem(429);
    // The header of an untrusted proxy is ignored.
    get_for(&router, "192.0.2.3:1", "192.0.2.4").await.problem(404);
    get_for(&router, "192.0.2.3:1", "192.0.2.5").await.problem(429);
}

#[tokio::test]
async fn without_a_limit_a_client_may_ask_as_it_likes() {
    let router = Bench::new().await.router();
    for _ in 0..100 {
        get_from(&router, "192.0.2.1:1").await.problem(404);
    }
}

#[tokio::test]
async fn more_than_can_be_done_at_once_is_refused_at_once() {
    // Without a writer an order stays at work.
    let (mut bench, _writer) = Bench::without_writer(crate::testing::context().await, 9);
    bench.settings.http.in_flight_max = 1;
    let router = bench.router();
    let mut first = Box::pin(ask(&router, post(order().to_string())));
    assert!(first.as_mut().now_or_never().is_none());
    let refused = get(&router, "/orders").await;
    refused.problem(503);
    assert_eq!(refused.header(header::RETRY_AFTER), "1");
    assert_eq!(get(&router, "/healthz").await.status, StatusCode::OK);
    drop(first);
    assert_eq!(get(&router, "/orders").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_client_that_sends_slowly_holds_no_place_in_the_line() {
    let mut bench = Bench::new().await;
    bench.settings.http.in_flight_max = 1;
    let router = bench.router();
    let mut slow = Vec::new();
    for _ in 0..100 {
        let trickling = stream::iter([Ok::<_, Infallible>(b"{".to_vec())]).chain(stream::pending());
        slow.push(Box::pin(ask(&router, post(Body::from_stream(trickling)))));
        assert!(slow.last_mut().unwrap().as_mut().now_or_never().is_none());
    }
    let answer = ask(&router, post(order().to_string())).await;
    assert_eq!(answer.status, StatusCode::CREATED);
}

#[tokio::test]
async fn large_bodies_that_do_not_end_give_way_to_one_that_does() {
    let mut bench = Bench::new().await;
    bench.settings.http.memory_mib = 16;
    let router = bench.router();
    // Of the 8 MiB for requests each holds 64 KiB.
    let slow: FuturesOrdered<_> = (0..200)
        .map(|_| {
            let part = stream::iter([Ok::<_, Infallible>(vec![b' '; 63 * 1024])]);
            ask(&router, post(Body::from_stream(part.chain(stream::pending()))))
        })
        .collect();
    let mut slow = std::pin::pin!(slow);
    slow.next().await.unwrap().problem(408);
    let honest = ask(&router, post(order().to_string()));
    tokio::select! {
        honest = honest => assert_eq!(honest.status, StatusCode::CREATED),
        others = slow.collect::<Vec<_>>() => panic!("{} of them have ended", others.len()),
    }
}

#[tokio::test]
async fn answers_count_until_they_are_sent() {
    let mut bench = Bench::new().await;
    bench.settings.http.memory_mib = 16;
    let router = bench.router();
    for _ in 0..100 {
        bench.placed().await;
    }
    let list = || Request::get("/orders?limit=100").body(Body::empty()).unwrap();
    let (mut waiting, mut bytes) = (Vec::new(), 0);
    let refused = loop {
        let answer = router.clone().oneshot(list()).await.unwrap();
        if answer.status() != StatusCode::OK {
            break answer;
        }
        bytes += answer.body().size_hint().exact().unwrap();
        // As hyper does: the whole, which is then sent piece by piece.
        let (_, body) = answer.into_parts();
        waiting.push(to_bytes(body, usize::MAX).await.unwrap());
    };
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!((3 << 20..=4 << 20).contains(&bytes), "{bytes} bytes wait");
    // Placed orders are answered all the same.
    assert_eq!(ask(&router, post(order().to_string())).await.status, StatusCode::CREATED);
    waiting.pop();
    assert_eq!(ask(&router, list()).await.status, StatusCode::OK);
}

#[tokio::test]
async fn more_orders_than_can_wait_are_refused() {
    let (bench, _writer) = Bench::without_writer(crate::testing::context().await, 1);
    let router = bench.router();
    let body = order().to_string();
    assert!(ask(&router, post(body.clone())).now_or_never().is_none());
    ask(&router, post(body)).await.problem(503);
}

#[tokio::test]
async fn more_streams_than_allowed_are_refused() {
    let mut bench = Bench::new().await;
    bench.settings.http.streams_max = 1;
    let (router, id) = (bench.router(), bench.placed().await);
    let path = format!("/orders/{id}/events");
    let first = router.clone().oneshot(Request::get(&path).body(Body::empty()).unwrap()).await;
    get(&router, &path).await.problem(503);
    drop(first);
    bench.confirm(id).await;
    assert_eq!(get(&router, &path).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_client_may_have_so_many_streams_and_others_theirs() {
    let mut bench = Bench::new().await;
    bench.settings.http.streams_per_client = 2;
    let router = bench.router();
    let open = async |peer: &str, path: &str| {
        let peer: SocketAddr = peer.parse().unwrap();
        let request = Request::get(path).extension(ConnectInfo(peer)).body(Body::empty());
        router.clone().oneshot(request.unwrap()).await.unwrap()
    };
    let first = open("192.0.2.1:1", "/orders/events").await;
    let second = open("192.0.2.1:2", "/orders/endings").await;
    assert_eq!((first.status(), second.status()), (StatusCode::OK, StatusCode::OK));
    let third = open("192.0.2.1:3", "/orders/endings").await;
    assert_eq!(third.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(open("192.0.2.2:1", "/orders/events").await.status(), StatusCode::OK);
    drop(first);
    assert_eq!(open("192.0.2.1:4", "/orders/endings").await.status(), StatusCode::OK);
    let peer: SocketAddr = "192.0.2.1:5".parse().unwrap();
    let request = Request::get("/orders/events").extension(ConnectInfo(peer));
    let refused = [second, open("192.0.2.1:6", "/orders/endings").await];
    ask(&router, request.body(Body::empty()).unwrap()).await.problem(429);
    drop(refused);
}

#[tokio::test]
async fn under_a_name_that_is_not_ours_nothing_is_served() {
    let mut bench = Bench::new().await;
    bench.settings.http.allowed_hosts = "order,*.shop.example".parse().unwrap();
    let router = bench.bare_router(|_| crate::More::default());
    let status = async |version: Version, hosts: &[&str], path: &str| {
        let mut request = Request::get(path).version(version);
        for host in hosts {
            request = request.header(header::HOST, *host);
        }
        router
            .clone()
            .oneshot(request.body(Body::empty()).unwrap())
            .await
            .unwrap()
            .status()
            .as_u16()
    };
    for path in ["/healthz", "/", "/orders", "/nothing"] {
        assert_eq!(status(Version::HTTP_11, &["evil.example"], path).await, 421, "{path}");
        assert_eq!(status(Version::HTTP_11, &[], path).await, 400, "{path}");
    }
    for host in ["order", "order:3001", "a.shop.example", "10.1.2.3:3001", "[::1]:3001"] {
        assert_eq!(status(Version::HTTP_11, &[host], "/healthz").await, 200, "{host}");
    }
    // Load balancers probe like this.
    assert_eq!(status(Version::HTTP_10, &[], "/healthz").await, 200);
    assert_eq!(status(Version::HTTP_11, &["order", "order"], "/healthz").await, 400);
    assert_eq!(status(Version::HTTP_11, &["evil@order"], "/healthz").await, 400);
    // The request line has precedence over the header.
    let path = "http://evil.example/healthz";
    assert_eq!(status(Version::HTTP_11, &["order"], path).await, 421);
}

#[tokio::test]
async fn a_panic_is_a_500_and_no_broken_connection() {
    let router = Router::new()
        .route("/", routing::get(async || -> StatusCode { panic!("as intended") }))
        .layer(middleware::from_fn(survive_panics));
    get(&router, "/").await.problem(500);
}
