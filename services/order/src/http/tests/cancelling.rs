use super::*;
use crate::testing::{approved, reversed, short};
use events::OrderId;

async fn cancel(router: &Router, id: impl std::fmt::Display) -> Answer {
    let request = Request::post(format!("/orders/{id}/cancel")).body(Body::empty()).unwrap();
    ask(router, request).await
}

#[tokio::test]
async fn a_running_order_can_be_cancelled_and_says_so_once() {
    let bench = Bench::new().await;
    let (router, id) = (bench.router(), bench.placed().await);
    for _ in 0..2 {
        let answer = cancel(&router, id).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED);
        assert_eq!(answer.json()["order_id"], id.to_string());
        assert_eq!(answer.json()["status"], "PENDING");
    }
    let shown = get(&router, &format!("/orders/{id}")).await.json();
    let timeline = shown["timeline"].as_array().unwrap();
    assert_eq!(timeline.len(), 2);
    assert_eq!(timeline[1]["event"], "order.cancel-requested");
    assert_eq!(timeline[1]["detail"]["reason"], "customer");
    assert_eq!(shown["updated_at"], timeline[1]["at"]);
    assert_eq!(bench.count("SELECT count(*) FROM outbox").await, 2);
    let traces = "SELECT count(DISTINCT trace) FROM outbox";
    assert_eq!(bench.count(traces).await, 1, "the saga stays one trace");
}

#[tokio::test]
async fn a_reason_is_no_longer_than_it_is_recorded() {
    let bench = Bench::new().await;
    let (router, id) = (bench.router(), bench.placed().await);
    let with = |count: usize| format!("{id}/cancel?reason={}", "x".repeat(count));
    for (count, status) in [(501, 400), (500, 202)] {
        let request = Request::post(format!("/orders/{}", with(count))).body(Body::empty());
        let answer = ask(&router, request.unwrap()).await;
        assert_eq!(answer.status, status);
    }
}

#[tokio::test]
async fn two_reasons_are_refused_and_none_is_lost() {
    let bench = Bench::new().await;
    let (router, id) = (bench.router(), bench.placed().await);
    let path = format!("/orders/{id}/cancel?reason=a&reason=b");
    let answer = ask(&router, Request::post(path).body(Body::empty()).unwrap()).await;
    assert_eq!(answer.problem(400), json!({ "reason": ["given more than once"] }));
    assert_eq!(cancel(&router, id).await.status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn a_retry_after_a_lost_answer_hears_that_the_order_is_cancelled() {
    let bench = Bench::new().await;
    let (router, id) = (bench.router(), bench.placed().await);
    assert_eq!(cancel(&router, id).await.status, StatusCode::ACCEPTED);
    bench.hear(approved(id)).await;
    bench.hear(short(id)).await;
    bench.hear(reversed(id)).await;
    let again = cancel(&router, id).await;
    again.problem(409);
    let detail = "the order is already cancelled; nothing is left to do";
    assert_eq!(again.json()["detail"], detail);
}

#[tokio::test]
async fn a_final_order_cannot_be_cancelled() {
    let bench = Bench::new().await;
    let (router, id) = (bench.router(), bench.placed().await);
    bench.confirm(id).await;
    cancel(&router, id).await.problem(409);
}

#[tokio::test]
async fn an_unknown_order_cannot_be_cancelled() {
    let router = Bench::new().await.router();
    cancel(&router, OrderId::nil()).await.problem(404);
    cancel(&router, "nonsense").await.problem(404);
}
