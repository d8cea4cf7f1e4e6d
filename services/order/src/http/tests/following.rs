use super::*;
use crate::{
    order::Fact,
    testing::{Still, approved, reversed, short},
};
use axum::{body::BodyDataStream, http::request::Builder};
use events::{OrderId, ShippingFailed, ShippingFailure};
use futures::StreamExt;
use messaging::{Env, SystemEnv};
use std::time::Duration;

/// What the stream says, event by event.
pub(super) struct Stream {
    body: BodyDataStream,
    text: String,
}

async fn follow(router: &Router, id: OrderId) -> Stream {
    open(router, Request::get(format!("/orders/{id}/events"))).await
}

pub(super) async fn open(router: &Router, request: Builder) -> Stream {
    let request = request.body(Body::empty()).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
    Stream { body: response.into_body().into_data_stream(), text: String::new() }
}

impl Stream {
    /// The next event's kind and data; `None` at the end.
    pub(super) async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let line = |name| event.lines().find_map(|line| line.strip_prefix(name));
                let (kind, data) = (line("event: "), line("data: "));
                let read =
                    kind.map(|kind| (kind.into(), serde_json::from_str(data.unwrap()).unwrap()));
                self.text = rest.into();
                if read.is_some() {
                    return read;
                }
                continue;
            }
            let chunk = tokio::time::timeout(Duration::from_secs(10), self.body.next());
            let chunk = chunk.await.expect("something comes in time")?.unwrap();
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// The next event of any order: whose it is, what it is, and what it answers.
    pub(super) async fn news(&mut self) -> (OrderId, String, Value) {
        let (kind, said) = self.next().await.unwrap();
        assert_eq!(kind, "said");
        let text = |name: &str| said[name].as_str().unwrap();
        (text("order_id").parse().unwrap(), text("event").into(), said["after"].clone())
    }

    async fn step(&mut self) -> String {
        let (kind, step) = self.next().await.unwrap();
        assert_eq!(kind, "step");
        step["event"].as_str().unwrap().into()
    }
}

#[tokio::test]
async fn steps_come_as_they_happen_and_the_end_closes() {
    let bench = Bench::new().await;
    let (router, id) = (bench.router(), bench.placed().await);
    let mut stream = follow(&router, id).await;
    assert_eq!(stream.step().await, "order.created");
    bench.hear(approved(id)).await;
    assert_eq!(stream.step().await, "payment.approved");
    bench.hear(short(id)).await;
    assert_eq!(stream.step().await, "inventory.failed");
    bench.hear(reversed(id)).await;
    assert_eq!(stream.step().await, "payment.reversed");
    assert_eq!(stream.next().await, Some(("end".into(), json!({ "status": "CANCELLED" }))));
    assert_eq!(stream.next().await, None);
}

#[tokio::test]
async fn what_is_known_already_comes_first() {
    let bench = Bench::new().await;
    let (router, id) = (bench.router(), bench.placed().await);
    bench.confirm(id).await;
    let mut stream = follow(&router, id).await;
    let shown = get(&router, &format!("/orders/{id}")).await.json();
    for step in shown["timeline"].as_array().unwrap() {
        assert_eq!(stream.next().await, Some(("step".into(), step.clone())));
    }
    assert_eq!(stream.next().await, Some(("end".into(), json!({ "status": "CONFIRMED" }))));
    assert_eq!(stream.next().await, None);
}

/// A browser reconnects after every end, unless it is answered 204.
#[tokio::test]
async fn a_reconnect_after_the_end_is_the_last_one() {
    let bench = Bench::new().await;
    let (router, id) = (bench.router(), bench.placed().await);
    let path = format!("/orders/{id}/events");
    let back = |last: &str| Request::get(&path).header("last-event-id", last);
    assert_eq!(open(&router, back("end")).await.step().await, "order.created");
    bench.confirm(id).await;
    let whole = get(&router, &path).await;
    let text = String::from_utf8(whole.body.into()).unwrap();
    let ids: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("id: ")).collect();
    let again = ask(&router, back(ids.last().unwrap()).body(Body::empty()).unwrap()).await;
    assert_eq!((again.status, again.body.len()), (StatusCode::NO_CONTENT, 0));
    // Cut off before the end: the client does not know it yet.
    assert_eq!(open(&router, back(ids[ids.len() - 2])).await.step().await, "order.created");
}

#[tokio::test]
async fn what_another_process_writes_is_seen_too() {
    let bench = Bench::new().await;
    let (router, id) = (bench.router(), bench.placed().await);
    let mut stream = follow(&router, id).await;
    assert_eq!(stream.step().await, "order.created");
    Bench::on(bench.context.clone()).hear(approved(id)).await;
    assert_eq!(stream.step().await, "payment.approved");
}

#[tokio::test]
async fn a_stop_ends_the_stream() {
    let bench = Bench::new().await;
    let (router, id) = (bench.router(), bench.placed().await);
    let mut stream = follow(&router, id).await;
    assert_eq!(stream.step().await, "order.created");
    bench.context.stop.cancel();
    assert_eq!(stream.next().await, None);
}

#[tokio::test]
async fn an_unknown_order_has_no_stream() {
    let router = Bench::new().await.router();
    get(&router, &format!("/orders/{}/events", OrderId::nil())).await.problem(404);
}

#[tokio::test]
async fn the_events_of_all_orders_come_as_they_happen() {
    let bench = Bench::new().await;
    let router = bench.router();
    let mut stream = open(&router, Request::get("/orders/events")).await;
    let (one, other) = (bench.placed().await, bench.placed().await);
    assert_eq!(stream.news().await, (one, "order.created".into(), Value::Null));
    assert_eq!(stream.news().await, (other, "order.created".into(), Value::Null));
    bench.hear(approved(other)).await;
    bench.hear(approved(other)).await;
    bench.hear(short(other)).await;
    assert_eq!(stream.news().await.1, "payment.approved");
    assert_eq!(stream.news().await.1, "inventory.failed");
}

#[tokio::test]
async fn what_order_does_not_hear_is_told_before_its_answer() {
    let bench = Bench::new().await;
    let (router, id) = (bench.router(), bench.placed().await);
    let mut stream = open(&router, Request::get("/orders/events")).await;
    let reason = ShippingFailure::CarrierRefused;
    bench.hear(ShippingFailed { order_id: id, reason }).await;
    bench.hear_after(Some(SystemEnv.new_id()), reversed(id)).await;
    assert_eq!(stream.news().await.1, "shipping.failed");
    let released = stream.next().await.unwrap().1;
    assert_eq!(released["event"], "inventory.released");
    assert_eq!(
        (&released["after"], &released["inferred"], &released["detail"]),
        (&"shipping.failed".into(), &true.into(), &serde_json::json!({}))
    );
    assert_eq!(stream.news().await, (id, "payment.reversed".into(), "inventory.released".into()));
}

#[tokio::test]
async fn the_events_that_another_process_hears_are_told_too() {
    let bench = Bench::new().await;
    let mut stream = open(&bench.router(), Request::get("/orders/events")).await;
    let id = Bench::on(bench.context.clone()).placed().await;
    assert_eq!(stream.news().await, (id, "order.created".into(), Value::Null));
}

/// An id's time has no more than milliseconds: it seems to be a moment before the listener came.
#[tokio::test]
async fn what_another_process_hears_within_the_same_millisecond_is_told() {
    let mut bench = Bench::new().await;
    bench.context.env = Still::new();
    let mut stream = open(&bench.router(), Request::get("/orders/events")).await;
    let id = Bench::on(bench.context.clone()).placed().await;
    assert_eq!(stream.news().await, (id, "order.created".into(), Value::Null));
}

#[tokio::test]
async fn who_comes_back_is_told_what_he_has_missed() {
    let bench = Bench::new().await;
    let (router, id) = (bench.router(), bench.placed().await);
    let known = get(&router, &format!("/orders/{id}")).await.json();
    let last = known["timeline"][0]["event_id"].as_str().unwrap();
    bench.hear(approved(id)).await;
    let mut stream =
        open(&router, Request::get("/orders/events").header("last-event-id", last)).await;
    assert_eq!(stream.news().await.1, "order.created");
    assert_eq!(stream.news().await.1, "payment.approved");
    bench.hear(short(id)).await;
    assert_eq!(stream.news().await.1, "inventory.failed");
}

#[tokio::test]
async fn who_has_missed_too_much_is_told_so() {
    let bench = Bench::new().await;
    let (router, id) = (bench.router(), bench.placed().await);
    let known = get(&router, &format!("/orders/{id}")).await.json();
    let last = known["timeline"][0]["event_id"].as_str().unwrap();
    let back = async || {
        let request = Request::get("/orders/events").header("last-event-id", last);
        open(&router, request).await.next().await.unwrap().0
    };
    assert_eq!(back().await, "said");
    // More of them than are looked at, a minute ago and no more.
    let more = format!(
        "INSERT INTO orders (id, customer_id, payment_method, total_amount, items, created_at,
             facts, status, updated_at)
         SELECT (lpad(to_hex((extract(EPOCH FROM now()) * 1000)::BIGINT), 12, '0')
                 || '7000' || '8000' || lpad(to_hex(number), 12, '0'))::UUID,
             customer_id, payment_method, total_amount, items, created_at, facts, status, updated_at
         FROM orders, generate_series(1, {}) AS number",
        crate::http::CAUGHT_UP_MAX
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(more))
        .execute(&bench.context.message_store.pool)
        .await
        .unwrap();
    assert_eq!(back().await, "missed");
}

/// This process's writes are sent as they are written; one poll finds those of all others.
#[tokio::test]
async fn a_stream_asks_no_database_once_it_is_open() {
    let bench = Bench::new().await;
    let (router, id) = (bench.router(), bench.placed().await);
    let mut stream = follow(&router, id).await;
    assert_eq!(stream.step().await, "order.created");
    let mut order =
        store::order(&bench.context.message_store.pool, id, None).await.unwrap().unwrap();
    bench.lose_database();
    order.remember(Fact {
        event: "payment.approved",
        event_id: SystemEnv.new_id(),
        at: SystemEnv.now(),
        caused_by: None,
        detail: Value::Null,
    });
    bench.orders.feeds.watchers.tell([(&id, &order)].into_iter());
    assert_eq!(stream.step().await, "payment.approved");
}

#[tokio::test]
async fn an_event_is_told_once_whoever_finds_it_first() {
    let bench = Bench::new().await;
    let router = bench.router();
    let mut streams = Vec::new();
    for _ in 0..3 {
        streams.push(open(&router, Request::get("/orders/events")).await);
    }
    let other = Bench::on(bench.context.clone());
    let (mut expected, mut told) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        expected.extend([bench.placed().await, other.placed().await]);
    }
    for stream in &mut streams {
        let mut ids = Vec::new();
        for _ in &expected {
            ids.push(stream.news().await.0);
        }
        ids.sort_unstable();
        told.push(ids);
    }
    expected.sort_unstable();
    assert!(told.iter().all(|ids| *ids == expected), "{told:?}");
    // One more comes next, and nothing once more.
    let last = bench.placed().await;
    for stream in &mut streams {
        assert_eq!(stream.news().await.0, last);
    }
}
