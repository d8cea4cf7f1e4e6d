use super::*;
use crate::{http::limits, testing::Still};
use axum::{extract::ConnectInfo, middleware, routing};
use futures::{FutureExt, stream};
use std::{convert::Infallible, net::SocketAddr};

async fn get_from(router: &Router, peer: &str) -> Answer {
    let peer: SocketAddr = peer.parse().unwrap();
    let request = Request::get("/orders/nonsense").extension(ConnectInfo(peer));
    ask(router, request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn a_client_that_asks_too_often_waits_and_others_do_not() {
    let mut bench = Bench::new().await;
    let clock = Still::new();
    bench.settings.rate_limit = 2;
    bench.context.world = clock.clone();
    let router = bench.router();
    get_from(&router, "192.0.2.1:1").await.problem(404);
    get_from(&router, "192.0.2.1:2").await.problem(404);
    let refused = get_from(&router, "192.0.2.1:3").await;
    refused.problem(429);
    assert_eq!(refused.header(header::RETRY_AFTER), "1");
    get_from(&router, "192.0.2.2:1").await.problem(404);

    clock.forward(500);
    get_from(&router, "192.0.2.1:4").await.problem(404);
    get_from(&router, "192.0.2.1:5").await.problem(429);

    // One host may have any address of its network.
    get_from(&router, "[2001:db8::1]:1").await.problem(404);
    get_from(&router, "[2001:db8::2]:1").await.problem(404);
    get_from(&router, "[2001:db8::3]:1").await.problem(429);
    get_from(&router, "[2001:db8:0:1::3]:1").await.problem(404);
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
    let mut bench = Bench::new().await;
    bench.settings.in_flight_max = 1;
    let router = bench.router();
    let never = stream::pending::<Result<Vec<u8>, Infallible>>();
    let mut first = Box::pin(ask(&router, post(Body::from_stream(never))));
    assert!(first.as_mut().now_or_never().is_none());
    let refused = get(&router, "/orders").await;
    refused.problem(503);
    assert_eq!(refused.header(header::RETRY_AFTER), "1");
    assert_eq!(get(&router, "/healthz").await.status, StatusCode::OK);
    drop(first);
    assert_eq!(get(&router, "/orders").await.status, StatusCode::OK);
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
    bench.settings.streams_max = 1;
    let (router, id) = (bench.router(), bench.placed().await);
    let path = format!("/orders/{id}/events");
    let first = router.clone().oneshot(Request::get(&path).body(Body::empty()).unwrap()).await;
    get(&router, &path).await.problem(503);
    drop(first);
    bench.confirm(id).await;
    assert_eq!(get(&router, &path).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_panic_is_a_500_and_no_broken_connection() {
    let router = Router::new()
        .route("/", routing::get(async || -> StatusCode { panic!("as intended") }))
        .layer(middleware::from_fn(limits::survive_panics));
    get(&router, "/").await.problem(500);
}
