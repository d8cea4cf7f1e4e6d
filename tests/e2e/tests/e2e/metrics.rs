//! The services' metrics agree with what happened.

use e2e::{BOUND, Collector, Fleet, PLENTY, SOLD_OUT, order, until};
use messaging::{Message, header};

/// The value of one line of the page.
pub fn value(page: &str, line: &str) -> Option<f64> {
    let mut lines = page.lines().filter_map(|text| text.rsplit_once(' '));
    lines.find(|(named, _)| *named == line)?.1.parse().ok()
}

pub async fn page(fleet: &Fleet) -> String {
    let answer = fleet.http.get(format!("{}/metrics", fleet.order_url)).send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    answer.text().await.unwrap()
}

/// Three confirmed, one declined, one out of stock; an invalid one, a repetition and a poison
/// message.
async fn some_life(fleet: &Fleet) {
    fleet.broker.tap().await;
    let confirmed = order("pix", PLENTY, 1);
    let wishes = [&confirmed, &confirmed, &confirmed, &order("card_declined", PLENTY, 1)];
    for wish in wishes.into_iter().chain([&order("pix", SOLD_OUT, 1)]) {
        fleet.ends(fleet.place(wish).await).await;
    }
    assert_eq!(fleet.post(&order("pix", PLENTY, 0)).await.status(), 422);
    let said = fleet.broker.untap().await;
    let again = said.iter().find(|said| said.kind.as_deref() == Some("shipping.scheduled"));
    fleet.broker.put("order.shipping-scheduled", again.expect("it was said")).await;
    let poison = Message::default().with(header::VERSION, 1);
    fleet.broker.put("order.payment-reversed", &poison).await;
}

#[tokio::test]
async fn the_page_of_the_order_service_tells_what_happened() {
    let fleet = Fleet::start().await;
    some_life(&fleet).await;
    let wanted = [
        ("consuming", 1.0),
        ("orders_placed_total", 5.0),
        (r#"messages_handled_total{queue="order.payment-approved"}"#, 4.0),
        (r#"messages_handled_total{queue="order.payment-failed"}"#, 1.0),
        (r#"messages_handled_total{queue="order.shipping-scheduled"}"#, 3.0),
        (r#"messages_duplicate_total{queue="order.shipping-scheduled"}"#, 1.0),
        (r#"messages_dead_total{queue="order.payment-reversed"}"#, 1.0),
        (r#"order_duration_seconds_count{status="CONFIRMED"}"#, 3.0),
        (r#"order_duration_seconds_count{status="PAYMENT_FAILED"}"#, 1.0),
        (r#"order_duration_seconds_count{status="CANCELLED"}"#, 1.0),
        (r#"http_request_duration_seconds_count{method="POST",route="/orders",status="201"}"#, 5.0),
        (r#"http_request_duration_seconds_count{method="POST",route="/orders",status="422"}"#, 1.0),
        ("outbox_events", 0.0),
        ("outbox_oldest_seconds", 0.0),
        ("orders_running", 0.0),
        ("orders_stuck", 0.0),
    ];
    let page = until(|| async {
        let page = page(&fleet).await;
        let wrong = wanted.iter().find(|(line, count)| value(&page, line) != Some(*count));
        wrong.map_or(Ok(page.clone()), |(line, count)| Err(format!("no {line} {count}:\n{page}")))
    })
    .await;
    let names = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    for name in names {
        let known = telemetry::metrics::ALL.iter().any(|metric| metric.name == name);
        assert!(known, "{name} is in no document");
    }
    let took = value(&page, r#"order_duration_seconds_sum{status="CONFIRMED"}"#).unwrap();
    assert!(took > 0.0 && took < 3.0 * BOUND.as_secs_f64(), "{took}");
    fleet.close().await;
}

#[tokio::test]
async fn an_order_that_nobody_undoes_is_seen_to_be_stuck() {
    let mut fleet = Fleet::start_with(&[("ORDER_DEADLINE", "1s")]).await;
    fleet.take("payment").kill();
    fleet.place(&order("pix", PLENTY, 1)).await;
    until(|| async {
        let page = page(&fleet).await;
        let (running, stuck) = (value(&page, "orders_running"), value(&page, "orders_stuck"));
        if (running, stuck) == (Some(1.0), Some(1.0)) { Ok(()) } else { Err(page) }
    })
    .await;
    fleet.close().await;
}

#[tokio::test]
async fn the_collector_is_told_what_payment_did() {
    let collector = Collector::start().await;
    let settings = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.as_str()),
        ("OTEL_METRIC_EXPORT_INTERVAL", "100"),
    ];
    let fleet = Fleet::start_with(&settings).await;
    some_life(&fleet).await;
    let wanted = [
        ("consuming", "", 1.0),
        ("messages_handled_total", "payment.order-created", 5.0),
        ("messages_handled_total", "payment.inventory-failed", 1.0),
        ("gateway_call_duration_seconds", "charge, done", 4.0),
        ("gateway_call_duration_seconds", "charge, declined", 1.0),
        ("gateway_call_duration_seconds", "refund, done", 1.0),
        ("charge_desk_processed_total", "APPROVED", 4.0),
        ("charge_desk_processed_total", "DECLINED", 1.0),
        ("charge_desk_processed_total", "REVERSED", 1.0),
        ("payments", "PENDING", 0.0),
        ("refunds_waiting", "", 0.0),
        ("refunds_oldest_seconds", "", 0.0),
    ];
    for (name, labels, count) in wanted {
        until(|| async {
            let told = collector.value("payment", name, labels);
            if told == Some(count) { Ok(()) } else { Err(format!("{name} {labels}: {told:?}")) }
        })
        .await;
    }
    assert!(collector.value("payment", "charge_desk_poll_duration_seconds", "") > Some(0.0));
    fleet.close().await;
}
