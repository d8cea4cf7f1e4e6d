//! Each service crashes twice in a row at each of its crash points; then every order ends as it
//! should.

use e2e::{Fleet, LIMITED, OVERSIZED, PLENTY, SOLD_OUT, order};
use futures::future::join_all;
use messaging::{
    CrashPoint::{self, *},
    Message, queue_name,
};
use std::os::unix::process::ExitStatusExt;

/// Crash points of every consumer.
const LOOP: &[CrashPoint] = &[Received, Noted, Written, Committed, PutAside, Acknowledged];
/// Crash points of every publisher.
const RELAY: &[CrashPoint] = &[Published, Confirmed, Forgotten];
const HTTP: &[CrashPoint] = &[OrderCommitted, CancelCommitted];
const DESK: &[CrashPoint] = &[ChargeTaken, ChargeAnswered, VerdictCommitted, ChargePutBack];

#[tokio::test]
async fn order_survives_a_crash_anywhere() {
    survives("order", &[LOOP, RELAY, HTTP].concat()).await;
}

#[tokio::test]
async fn payment_survives_a_crash_anywhere() {
    survives("payment", &[LOOP, RELAY, DESK].concat()).await;
}

#[tokio::test]
async fn inventory_survives_a_crash_anywhere() {
    survives("inventory", &[LOOP, RELAY].concat()).await;
}

#[tokio::test]
async fn shipping_survives_a_crash_anywhere() {
    survives("shipping", &[LOOP, RELAY].concat()).await;
}

async fn survives(service: &str, points: &[CrashPoint]) {
    let mut fleet = Fleet::start().await;
    for point in points {
        // The reaper takes over claims that an earlier crash left.
        let ways = match point {
            ChargePutBack => [ChargeAnswered, ChargePutBack],
            other => [*other, *other],
        };
        fleet.take(service).kill();
        for way in ways {
            fleet.spawn_as(service, service, &[("CRASH_AT", &format!("{way:?}"))]);
            let mut crashing = fleet.take(service);
            poison(&fleet, service).await;
            // The order service does not answer after its crash: its customers ask again below.
            let status = tokio::select! {
                status = crashing.ended() => status,
                () = life(&fleet) => crashing.ended().await,
            };
            assert_eq!(status.signal(), Some(nix::libc::SIGABRT), "{service} at {way:?}: {status}");
        }
        fleet.spawn(service);
        life(&fleet).await;
        for order in fleet.placed() {
            fleet.ends(order).await;
        }
    }
    fleet.drained().await;
    fleet.verify().await;
    fleet.history_is_complete().await;
    fleet.close().await;
}

/// Some orders of every kind, so that every service has something to do and to compensate.
async fn life(fleet: &Fleet) {
    let wishes = [
        order("pix", PLENTY, 1),
        order("pix", LIMITED, 11),
        order("pix", SOLD_OUT, 1),
        order("pix", OVERSIZED, 1),
        order("card_declined", PLENTY, 1),
    ];
    let flaky = order("card_flaky", PLENTY, 1);
    let cancelled = async { fleet.cancel_surely(fleet.place_surely(&flaky).await).await };
    tokio::join!(join_all(wishes.iter().map(|wish| fleet.place_surely(wish))), cancelled);
}

/// Publishes a message that the service must dead-letter.
async fn poison(fleet: &Fleet, service: &str) {
    let step = events::SAGA.iter().find(|step| step.service == service).expect("it hears");
    let message = Message { body: b"?".to_vec(), ..Message::default() };
    fleet.broker.put(&queue_name(service, step.hears), &message).await;
}
