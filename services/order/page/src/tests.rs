mod acting;

use super::*;
use crate::{
    feed::Subscriber,
    steps::{Kind, steps},
};
use axum::{
    body::Body,
    extract::ConnectInfo,
    http::{HeaderValue, Request, StatusCode},
};
use chrono::{DateTime, TimeDelta};
use events::{EventId, InventoryReserved};
use order::{
    Fact, Order, store,
    testing::{Bench, approved, scheduled, short},
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use serde_json::{Value, json};
use std::{net::SocketAddr, time::Duration};
use tokio::runtime::Runtime;
use tower::ServiceExt;

const SOON: Duration = Duration::from_secs(30);

/// At work until the test ends.
fn feed(bench: &Bench) -> PageFeed {
    let feed = PageFeed::new(SystemEnv.new_id(), bench.settings.order_deadline, None, 1 << 20);
    let (context, orders) = (bench.context.clone(), bench.orders.clone());
    let backend = order::backend(context.clone(), orders.clone());
    tokio::spawn(feed.clone().run(context.with(()), backend, orders.feeds));
    feed
}

fn router(bench: &Bench) -> Router {
    let feed = feed(bench);
    bench.router_with(|app| {
        routes(Page {
            app: app.clone(),
            feed,
            acting: None,
            traffic: Traffic::new(0),
            rabbitmq_page: "".into(),
        })
    })
}

async fn next(subscriber: &mut Subscriber) -> (String, Value) {
    let sent = tokio::time::timeout(SOON, subscriber.next()).await.expect("there is news");
    (sent.id, serde_json::from_str(&sent.data).unwrap())
}

/// The first frame in which this is there.
async fn frame_with(subscriber: &mut Subscriber, part: &str) -> (String, Value) {
    loop {
        let (id, frame) = next(subscriber).await;
        if !frame[part].is_null() {
            return (id, frame);
        }
    }
}

#[tokio::test]
async fn nobody_looks_but_while_a_page_is_open() {
    let bench = Bench::new().await;
    let feed = feed(&bench);
    assert!(!feed.is_looking());
    let mut subscriber = feed.subscribe(None);
    subscriber.scene().await;
    assert!(feed.is_looking());
    drop(subscriber);
    let until_idle = async {
        while feed.is_looking() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(SOON, until_idle).await.expect("it stops with the last page");
    // The next page sees what happened meanwhile.
    let placed = bench.placed().await;
    let (scene, _) = feed.subscribe(None).scene().await;
    assert_eq!(scene.rows[0].0, placed);
}

#[tokio::test]
async fn a_page_is_told_what_changes_and_goes_on_where_it_was() {
    let bench = Bench::new().await;
    let feed = feed(&bench);
    let mut subscriber = feed.subscribe(None);
    let (_, whole) = next(&mut subscriber).await;
    assert_eq!(whole["ids"], json!([]));
    let placed = bench.placed().await;
    let (id, frame) = frame_with(&mut subscriber, "rows").await;
    assert_eq!(frame["ids"], json!([placed]));
    assert_eq!(frame["passed"], json!(["order.created"]));
    bench.hear(approved(placed)).await;
    let (_, frame) = frame_with(&mut subscriber, "rows").await;
    assert!(frame["ids"].is_null(), "the same orders: {frame}");
    assert_eq!(frame["passed"], json!(["payment.approved"]));

    let mut back = feed.subscribe(Some(&id));
    let (_, missed) = frame_with(&mut back, "rows").await;
    assert_eq!(missed["passed"], json!(["payment.approved"]));
    let (_, other) = next(&mut feed.subscribe(Some("0123-7"))).await;
    assert_eq!(other["ids"], json!([placed]), "what another process has told is not known here");
    assert!(other["passed"].is_null(), "nothing is new for who sees it for the first time");
}

fn fact(number: u128, event: &'static str, cause: Option<u128>) -> Fact {
    Fact {
        event,
        event_id: EventId::from_u128(number),
        at: DateTime::UNIX_EPOCH + TimeDelta::milliseconds(i64::try_from(number).unwrap()),
        caused_by: cause.map(EventId::from_u128),
        detail: Value::Null,
    }
}

#[test]
fn what_order_does_not_hear_is_drawn_between_cause_and_effect() {
    let order = Order::new([
        fact(1, "order.created", None),
        fact(2, "payment.approved", Some(1)),
        fact(3, "inventory.reserved", Some(2)),
        fact(4, "shipping.failed", Some(3)),
        // Caused by a release, whose id order does not know.
        fact(9, "payment.reversed", Some(7)),
    ]);
    let steps = steps(&order, &[]);
    let told: Vec<_> = steps.iter().map(|step| (step.event, step.kind, step.cause)).collect();
    let expected = [
        ("order.created", Kind::Forth, None),
        ("payment.approved", Kind::Forth, Some(0)),
        ("inventory.reserved", Kind::Forth, Some(1)),
        ("shipping.failed", Kind::Back, Some(2)),
        ("inventory.released", Kind::Inferred, Some(3)),
        ("payment.reversed", Kind::Back, Some(4)),
    ];
    assert_eq!(told, expected);
    assert_eq!((steps[3].lane, steps[3].to.as_slice()), (3, [2].as_slice()));
    assert_eq!((steps[5].at_ms, steps[5].took_ms), (Some(8), None));
}

#[tokio::test]
async fn the_list_tells_the_end_in_a_persons_words() {
    let bench = Bench::new().await;
    let (one, other) = (bench.placed().await, bench.placed().await);
    bench.hear(approved(one)).await;
    bench.hear(InventoryReserved { order_id: one, items: vec![] }).await;
    bench.hear(scheduled(one)).await;
    bench.hear(approved(other)).await;
    bench.hear(short(other)).await;
    let pool = &bench.context.message_store.pool;
    let told =
        async |id| order_labels::ending(&store::order(pool, id, None).await.unwrap().unwrap());
    assert_eq!(told(one).await, "TRK-00000001");
    assert_eq!(told(other).await, "sold out");
}

#[tokio::test]
async fn an_open_page_is_one_of_its_clients_streams() {
    let mut bench = Bench::new().await;
    bench.settings.http.streams_per_client = 1;
    let router = router(&bench);
    let open = async |path: &str| {
        let peer: SocketAddr = ([192, 0, 2, 1], 1).into();
        let request = Request::get(path).extension(ConnectInfo(peer)).body(Body::empty());
        router.clone().oneshot(request.unwrap()).await.unwrap()
    };
    let first = open("/page/frames").await;
    assert_eq!(first.status(), StatusCode::OK);
    assert_eq!(open("/orders/events").await.status(), StatusCode::TOO_MANY_REQUESTS);
    drop(first);
    assert_eq!(open("/page/frames").await.status(), StatusCode::OK);
}

#[cfg(not(feature = "demo"))]
#[tokio::test]
async fn without_the_demonstration_the_page_places_no_order() {
    let bench = Bench::new().await;
    let feed = feed(&bench);
    let (operator_amqp_url, operator_amqp_url_file, rabbitmq_page) = Default::default();
    let settings =
        PageSettings { demo: true, operator_amqp_url, operator_amqp_url_file, rabbitmq_page };
    let acting = Some(Arc::new(Acting::new(&settings).unwrap()));
    let router = bench.router_with(|app| {
        routes(Page {
            app: app.clone(),
            feed,
            acting,
            traffic: Traffic::new(0),
            rabbitmq_page: "".into(),
        })
    });
    let asked = Request::post("/page/scenarios/happy").body(Body::empty()).unwrap();
    assert_eq!(router.oneshot(asked).await.unwrap().status(), StatusCode::NOT_FOUND);
}

#[test]
fn fuzz_any_order_and_any_last_frame() {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    let cases = cases.unwrap_or(300);
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let runtime = Runtime::new().unwrap();
    let (_bench, router) = runtime.block_on(async {
        let bench = Bench::new().await;
        let router = router(&bench);
        (bench, router)
    });
    let ids = prop_oneof!["(%[0-9a-f]{2}){0,20}", "[!$&-;=@-Z_a-z~]{0,60}"];
    let frames = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..300),
        any::<u128>().prop_map(|id| format!("{id:032x}-{}", id % 9).into_bytes()),
    ];
    let frames = frames.prop_filter_map("no header", |it| HeaderValue::from_bytes(&it).ok());
    let asked = TestRunner::new(config).run(&(ids, frames), |(id, frame)| {
        let ask = |request: Request<Body>| router.clone().oneshot(request);
        let request = Request::get(format!("/page/orders/{id}")).body(Body::empty()).unwrap();
        let status = runtime.block_on(ask(request)).unwrap().status().as_u16();
        assert!([200, 400, 404, 405].contains(&status), "{status}");
        let request = Request::get("/page/frames").header("last-event-id", frame);
        let request = request.body(Body::empty()).unwrap();
        assert_eq!(runtime.block_on(ask(request)).unwrap().status(), StatusCode::OK);
        Ok(())
    });
    asked.unwrap_or_else(|why| panic!("{why}"));
}
