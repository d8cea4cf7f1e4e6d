//! Each order is one trace, whatever its ending; without a collector no order is lost.

use e2e::{Collector, Fleet, OVERSIZED, PLENTY, SERVICES, Span, mend, order, refuse, until};
use messaging::header;
use serde_json::Value;
use std::collections::BTreeSet;
use uuid::Uuid;

const CALLER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

async fn fleet_that_tells(collector: &Collector) -> Fleet {
    let ca_file = collector.ca_file.as_ref().map(|path| path.display().to_string());
    let mut settings = vec![
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.as_str()),
        ("OTEL_BSP_SCHEDULE_DELAY", "100"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "100"),
    ];
    settings.extend(ca_file.as_deref().map(|file| ("OTEL_EXPORTER_OTLP_CERTIFICATE", file)));
    Fleet::start_with(&settings).await
}

/// For a client that sends its own trace.
async fn place_in_trace(fleet: &Fleet, wish: &Value, traceparent: &str) -> Uuid {
    let url = format!("{}/orders", fleet.order_url);
    let request = fleet.http.post(url).json(wish).header("traceparent", traceparent);
    let request = request.header("x-request-id", "placed");
    let answer: Value = request.send().await.unwrap().json().await.unwrap();
    answer["order_id"].as_str().unwrap().parse().unwrap()
}

/// Each span with its parent: `service: span < parent`.
fn hops(spans: &[Span]) -> Vec<String> {
    let name = |span: &Span| format!("{}: {}", span.service, span.name);
    let parent = |span: &Span| {
        let parent = spans.iter().find(|other| other.id == span.parent);
        parent.map_or_else(|| span.parent.clone(), name)
    };
    let mut hops: Vec<_> =
        spans.iter().map(|span| format!("{} < {}", name(span), parent(span))).collect();
    hops.sort();
    hops
}

/// Waits until exactly these spans have arrived, each as often as it is named.
async fn tells(collector: &Collector, order: Uuid, wanted: &[&str]) -> Vec<Span> {
    let mut wanted: Vec<_> = wanted.to_vec();
    wanted.sort_unstable();
    until(|| async {
        let spans = collector.spans_about(order);
        let found = hops(&spans);
        if found == wanted { Ok(spans) } else { Err(format!("{found:#?} are not {wanted:#?}")) }
    })
    .await
}

fn one_trace(spans: &[Span]) -> String {
    let traces: BTreeSet<_> = spans.iter().map(|span| &span.trace).collect();
    assert_eq!(traces.len(), 1, "{traces:?}");
    let ids: BTreeSet<_> = spans.iter().map(|span| &span.id).collect();
    assert_eq!(ids.len(), spans.len(), "no two spans have one id");
    spans[0].trace.clone()
}

#[tokio::test]
async fn a_confirmed_order_is_one_trace_from_the_request_to_its_last_status() {
    let collector = Collector::start_https().await;
    let fleet = fleet_that_tells(&collector).await;
    let id = fleet.place(&order("pix", PLENTY, 1)).await;
    assert_eq!(fleet.ends(id).await["status"], "CONFIRMED");
    let hops = [
        "order: POST /orders < ",
        "order: publish order.created < order: POST /orders",
        "payment: process order.created < order: publish order.created",
        "payment: gateway charge < payment: process order.created",
        "payment: publish payment.approved < payment: gateway charge",
        "order: process payment.approved < payment: publish payment.approved",
        "inventory: process payment.approved < payment: publish payment.approved",
        "inventory: publish inventory.reserved < inventory: process payment.approved",
        "order: process inventory.reserved < inventory: publish inventory.reserved",
        "shipping: process inventory.reserved < inventory: publish inventory.reserved",
        "shipping: publish shipping.scheduled < shipping: process inventory.reserved",
        "order: process shipping.scheduled < shipping: publish shipping.scheduled",
    ];
    let spans = tells(&collector, id, &hops).await;
    let trace = one_trace(&spans);
    for span in &spans {
        assert_eq!(span.attributes["order_id"], id.to_string(), "{span:?}");
        assert!(!span.failed, "{span:?}");
    }
    let event = |name| spans.iter().find(|span| span.name == name).unwrap().attributes.clone();
    let (said, heard) = (event("publish shipping.scheduled"), event("process shipping.scheduled"));
    assert_eq!(said["event_id"], heard["event_id"]);
    assert_eq!(said["messaging.destination.name"], "shipping.exchange:shipping.scheduled");
    let log = fleet.process("shipping").log();
    assert!(log.contains(&format!("trace_id=\"{trace}\"")), "a log line leads to it:\n{log}");
    fleet.verify().await;
    fleet.close().await;
}

#[tokio::test]
async fn a_compensation_is_in_the_trace_with_every_try_of_it() {
    let collector = Collector::start().await;
    let fleet = fleet_that_tells(&collector).await;
    let stock = fleet.pool("inventory").await;
    refuse(&stock, "reservations", "status <> 'RELEASED'").await;
    let id = fleet.place(&order("card_flaky", OVERSIZED, 1)).await;
    let failed = |span: &Span| span.name == "process shipping.failed" && span.failed;
    until(|| async {
        let count = collector.spans_about(id).into_iter().filter(failed).count();
        if count >= 2 { Ok(()) } else { Err(format!("{count} failures are told")) }
    })
    .await;
    mend(&stock, "reservations").await;
    assert_eq!(fleet.ends(id).await["status"], "CANCELLED");

    let tried = "inventory: process shipping.failed < shipping: publish shipping.failed";
    let charge = "payment: gateway charge < payment: process order.created";
    // The look-up after a charge that was answered 503.
    let asked = "payment: gateway look-up < payment: process order.created";
    let before = [
        "order: POST /orders < ",
        "order: publish order.created < order: POST /orders",
        "payment: process order.created < order: publish order.created",
        charge,
        asked,
        charge,
        asked,
        charge,
        "payment: publish payment.approved < payment: gateway charge",
        "order: process payment.approved < payment: publish payment.approved",
        "inventory: process payment.approved < payment: publish payment.approved",
        "inventory: publish inventory.reserved < inventory: process payment.approved",
        "order: process inventory.reserved < inventory: publish inventory.reserved",
        "shipping: process inventory.reserved < inventory: publish inventory.reserved",
        "shipping: publish shipping.failed < shipping: process inventory.reserved",
        "order: process shipping.failed < shipping: publish shipping.failed",
    ];
    let after = [
        "inventory: publish inventory.released < inventory: process shipping.failed",
        "payment: process inventory.released < inventory: publish inventory.released",
        "payment: gateway refund < payment: process inventory.released",
        "payment: publish payment.reversed < payment: gateway refund",
        "order: process payment.reversed < payment: publish payment.reversed",
    ];
    let failures = until(|| async {
        let spans = collector.spans_about(id);
        let released = spans.iter().find(|span| span.name == "publish inventory.released");
        let last = spans.iter().find(|span| released.is_some_and(|it| span.id == it.parent));
        let last = last.filter(|last| !last.failed).ok_or("no try has succeeded")?;
        Ok(last.attributes["attempt"].parse::<usize>().unwrap())
    })
    .await;
    assert!(failures >= 2, "{failures}");
    let hops = [&before[..], &vec![tried; failures + 1], &after].concat();
    one_trace(&tells(&collector, id, &hops).await);
    until(|| async {
        let queue = "inventory.shipping-failed";
        let retried = collector.value("inventory", "messages_retried_total", queue);
        let wanted = Some(failures as f64);
        if retried == wanted { Ok(()) } else { Err(format!("{retried:?}, not {wanted:?}")) }
    })
    .await;
    fleet.verify().await;
    fleet.close().await;
}

#[tokio::test]
async fn a_callers_trace_is_gone_on_with_and_left_alone_if_he_wants_no_record() {
    let collector = Collector::start().await;
    let fleet = fleet_that_tells(&collector).await;
    let unsampled = CALLER.replace("4bf9", "aaaa").replace("-01", "-00");
    fleet.broker.tap().await;
    let silent = place_in_trace(&fleet, &order("pix", PLENTY, 1), &unsampled).await;
    assert_eq!(fleet.ends(silent).await["status"], "CONFIRMED");
    for message in fleet.broker.untap().await {
        assert_eq!(message.text(header::TRACE), Some(unsampled.clone()), "{message:?}");
    }

    let id = place_in_trace(&fleet, &order("card_flaky", PLENTY, 1), CALLER).await;
    let cancel = fleet.http.post(format!("{}/orders/{id}/cancel", fleet.order_url));
    let cancelled = cancel.header("x-request-id", "cancelled").send().await.unwrap();
    assert_eq!(cancelled.status(), 202);
    assert_eq!(fleet.ends(id).await["status"], "CANCELLED");
    let spans = until(|| async {
        let spans = collector.spans_about(id);
        let found = hops(&spans);
        let last = found.iter().any(|hop| hop.starts_with("order: process payment."));
        if last { Ok(spans) } else { Err(format!("{found:#?}")) }
    })
    .await;
    assert_eq!(one_trace(&spans), CALLER[3..35]);
    let found = hops(&spans);
    for hop in [
        format!("order: POST /orders < {}", &CALLER[36..52]),
        "order: cancel order < order: POST /orders".into(),
        "order: publish order.cancel-requested < order: cancel order".into(),
    ] {
        assert!(found.contains(&hop), "{hop} is missing in {found:#?}");
    }
    for (name, request) in [("POST /orders", "placed"), ("cancel order", "cancelled")] {
        let span = spans.iter().find(|span| span.name == name).unwrap();
        assert_eq!(span.attributes["request_id"], request);
    }
    assert_eq!(collector.spans_about(silent), []);
    fleet.close().await;
}

#[tokio::test]
async fn without_a_collector_nothing_is_sent_and_messages_still_carry_the_callers_trace() {
    let collector = Collector::start().await;
    let (traces, metrics) =
        (format!("{}/v1/traces", collector.url), format!("{}/v1/metrics", collector.url));
    let settings = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", ""),
        // The address that would be used if anything were sent.
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", traces.as_str()),
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", metrics.as_str()),
    ];
    let mut fleet = Fleet::start_with(&settings).await;
    fleet.broker.tap().await;
    let id = place_in_trace(&fleet, &order("pix", OVERSIZED, 1), CALLER).await;
    assert_eq!(fleet.ends(id).await["status"], "CANCELLED");
    fleet.drained().await;
    let said = fleet.broker.untap().await;
    assert_eq!(said.len(), 6, "each step was said");
    for message in said {
        assert_eq!(message.text(header::TRACE).as_deref(), Some(CALLER), "{message:?}");
    }
    for service in SERVICES {
        let (status, _) = fleet.take(service).stop().await;
        assert!(status.success(), "{service}: {status}");
    }
    assert_eq!(collector.requests(), 0);
    fleet.close().await;
}

#[tokio::test]
async fn a_collector_that_is_away_disturbs_nobody_and_is_complained_of_once() {
    let nowhere = format!("http://{}", e2e::free_address());
    let settings = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", nowhere.as_str()),
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "50"),
    ];
    let mut fleet = Fleet::start_with(&settings).await;
    for _ in 0..5 {
        let id = fleet.place(&order("pix", PLENTY, 1)).await;
        assert_eq!(fleet.ends(id).await["status"], "CONFIRMED");
    }
    fleet.verify().await;
    for service in SERVICES {
        let log = fleet.process(service).log.clone();
        let (status, _) = fleet.take(service).stop().await;
        assert!(status.success(), "{service}: {status}");
        let lines = std::fs::read_to_string(log).unwrap();
        let complaints: Vec<_> = lines.lines().filter(|line| line.contains(&nowhere)).collect();
        assert_eq!(complaints.len(), 1, "{complaints:#?}");
    }
    fleet.close().await;
}
