//! `saga why` names what an order waits for, in every case.

use database::PlainConnection;
use e2e::{Fleet, PLENTY, SERVICES, order, refuse, until};
use messaging::{RetrySchedule, Topology};
use order::audit::ending;
use saga_cli::why::{Place, Report, why};
use serde_json::json;
use std::time::Duration;
use uuid::Uuid;

/// The answer of `saga why`, once it meets the expectation.
pub async fn told(fleet: &Fleet, order: Uuid, is_so: impl Fn(&Report) -> bool) -> Report {
    until(|| async {
        let report =
            why(&fleet.endpoints(), &order.to_string()).await.map_err(|why| format!("{why:#}"))?;
        if is_so(&report) { Ok(report) } else { Err(format!("{report:#?}")) }
    })
    .await
}

pub fn place(report: &Report) -> Option<&Place> {
    report.missing.first().map(|missing| &missing.place)
}

#[tokio::test]
async fn a_finished_order_waits_for_nothing() {
    let fleet = Fleet::start().await;
    let id = fleet.place(&order("pix", PLENTY, 1)).await;
    fleet.ends(id).await;
    let report = told(&fleet, id, |report| report.missing.is_empty()).await;
    assert!(report.is_final && report.took_ms >= 0, "{report:#?}");
    let events: Vec<_> = report.timeline.iter().map(|passed| passed.step.event.as_str()).collect();
    let way = ["order.created", "payment.approved", "inventory.reserved", "shipping.scheduled"];
    assert_eq!(events, way);
    let took: Vec<_> = report.timeline.iter().map(|passed| passed.took_ms).collect();
    assert!(took[0].is_none() && took[1..].iter().all(Option::is_some), "{took:?}");
    let said = fleet.saga(&["why", &id.to_string()[..8]]).await;
    assert!(said.code == Some(0) && said.out.contains("it is finished: CONFIRMED"), "{said:?}");

    let second = fleet.place(&order("pix", PLENTY, 1)).await;
    let (one, other) = (id.to_string(), second.to_string());
    let common = one.chars().zip(other.chars());
    let common: String =
        common.take_while(|(one, other)| one == other).map(|(one, _)| one).collect();
    let unclear = fleet.saga(&["why", &common]).await;
    assert!(unclear.code == Some(1) && unclear.error.contains("is ambiguous"), "{unclear:?}");
    let end = &id.to_string()[30..];
    let said = fleet.saga(&["why", end]).await;
    assert!(said.code == Some(0) && said.out.contains(&id.to_string()), "{said:?}");
    // Among the newest alone it is not, and among all it is.
    let mut orders = PlainConnection::open(&fleet.endpoints().databases["order"]).await.unwrap();
    assert!(ending(&mut orders, end, Some(1)).await.unwrap().is_empty());
    let found = ending(&mut orders, end, None).await.unwrap();
    assert_eq!(found.iter().map(|(order, ..)| *order).collect::<Vec<_>>(), [id]);
    let unknown = fleet.saga(&["why", &Uuid::nil().to_string()]).await;
    assert!(unknown.code == Some(1) && unknown.error.contains("there is no order"), "{unknown:?}");
    fleet.close().await;
}

#[tokio::test]
async fn a_service_that_is_down_is_named() {
    let mut fleet = Fleet::start().await;
    fleet.take("payment").kill();
    let id = fleet.place(&order("pix", PLENTY, 1)).await;
    let report = told(&fleet, id, |report| {
        matches!(place(report), Some(Place::Queue { ready: 1 }))
            && report.missing[0].consumers == Some(0)
    })
    .await;
    let [missing] = report.missing.as_slice() else { panic!("{report:#?}") };
    assert_eq!((&*missing.service, &*missing.event), ("payment", "order.created"));
    let said = fleet.saga(&["why", &id.to_string()]).await;
    assert!(said.out.contains("payment does not consume payment.order-created"), "{said:?}");
    fleet.close().await;
}

/// RabbitMQ tells a publisher of a lost event only where no queue at all is bound.
#[tokio::test]
async fn an_event_whose_queue_is_gone_is_told_with_what_brings_it_back() {
    let mut fleet = Fleet::start().await;
    fleet.take("inventory").kill();
    fleet.broker.delete_queue("inventory.payment-approved").await;
    let id = fleet.place(&order("pix", PLENTY, 1)).await;
    let report = told(&fleet, id, |report| matches!(place(report), Some(Place::NoQueue))).await;
    assert_eq!(report.timeline.len(), 2, "{report:#?}");
    let said = fleet.saga(&["why", &id.to_string()]).await;
    let replay = "saga replay --to inventory.payment-approved";
    assert!(said.code == Some(0) && said.out.contains(replay), "{said:?}");
}

#[tokio::test]
async fn a_message_in_a_retry_queue_is_told_with_its_return() {
    let mut fleet = Fleet::prepare(&[("RETRY_DELAYS", "20s")]).await;
    let schedule = RetrySchedule::new(vec![Duration::from_secs(20)]);
    fleet.broker.import(Topology::whole(&schedule).definitions(&fleet.broker.vhost)).await;
    for service in SERVICES {
        fleet.spawn(service);
    }
    fleet.ready().await;
    refuse(&fleet.pool("inventory").await, "reservation_items", "quantity <> 7").await;
    let id = fleet.place(&order("pix", PLENTY, 7)).await;
    let report = told(&fleet, id, |report| matches!(place(report), Some(Place::Tier(_)))).await;
    let Some(Place::Tier(aside)) = place(&report) else { unreachable!() };
    assert_eq!((&*aside.queue, aside.attempts), ("inventory.retry.20s", 1));
    assert!(aside.reason.contains("fault"), "{aside:?}");
    let wait = aside.returns_at.unwrap() - aside.since.unwrap();
    assert_eq!(wait.num_seconds(), 20);
    assert_eq!(fleet.broker.ready(&["inventory.retry.20s".into()]).await, [1], "it is still there");
    fleet.close().await;
}

#[tokio::test]
async fn a_provider_who_keeps_everybody_waiting_is_told_with_the_next_try() {
    let mut fleet = Fleet::start_with_provider(&[
        ("PAYMENT_GATEWAY_TIMEOUT", "5m"),
        ("PAYMENT_REAP_AFTER", "6m"),
        ("PAYMENT_RETRY_DELAY", "5m"),
    ])
    .await;
    let retried = fleet.place(&order("card_unavailable", PLENTY, 1)).await;
    let report = told(
        &fleet,
        retried,
        |report| matches!(place(report), Some(Place::Desk(charge)) if charge.status == "RETRYING"),
    )
    .await;
    let Some(Place::Desk(charge)) = place(&report) else { unreachable!() };
    assert!(charge.attempts > 0 && charge.last_error.is_some() && charge.due_at.is_some());
    assert_eq!(charge.claimed_at, None, "it is in nobody's hand");
    assert_eq!(report.missing[0].may_say, ["payment.approved", "payment.failed"]);
    let said = fleet.saga(&["why", &retried.to_string()]).await;
    assert!(said.out.contains("next call to the provider in"), "{said:?}");

    fleet.provider().behave(json!({"latency_ms": 300_000})).await;
    let slow = fleet.place(&order("pix", PLENTY, 1)).await;
    told(
        &fleet,
        slow,
        |report| matches!(place(report), Some(Place::Desk(charge)) if charge.claimed_at.is_some()),
    )
    .await;
    let said = fleet.saga(&["why", &slow.to_string()]).await;
    assert!(said.out.contains("no answer yet"), "{said:?}");
    fleet.close().await;
}
