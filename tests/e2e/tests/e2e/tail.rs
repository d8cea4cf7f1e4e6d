//! `saga tail` shows events while they happen.

use e2e::{BOUND, Fleet, OVERSIZED, PLENTY, order, saga};
use nix::sys::signal::Signal;
use serde_json::Value;
use servers::Process;
use std::{collections::BTreeSet, process::Stdio, time::Duration};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::ChildStdout,
    time::timeout,
};

async fn next(lines: &mut Lines<BufReader<ChildStdout>>) -> Value {
    let line = timeout(BOUND, lines.next_line()).await.expect("something is shown in time");
    tidy::documented(&["tail"], &line.unwrap().expect("it goes on"))
}

#[tokio::test]
async fn every_event_of_an_order_is_shown_with_its_cause_until_ctrl_c() {
    let fleet = Fleet::start().await;
    let mut tail = saga(&["tail", "--json", "--url", &fleet.order_url]);
    let mut tail = tail.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    // Once it has shown an event, it is connected.
    loop {
        fleet.place(&order("pix", PLENTY, 1)).await;
        if timeout(Duration::from_secs(1), lines.next_line()).await.is_ok() {
            break;
        }
    }
    let id = fleet.place(&order("pix", OVERSIZED, 1)).await;
    let mut shown = BTreeSet::new();
    while shown.len() < 6 {
        let said = next(&mut lines).await;
        if said["order_id"] == id.to_string() {
            let text = |name: &str| said[name].as_str().unwrap_or("nothing").to_owned();
            assert!(shown.insert(format!("{} after {}", text("event"), text("after"))), "{said}");
        }
    }
    let expected = [
        "inventory.released after shipping.failed",
        "inventory.reserved after payment.approved",
        "order.created after nothing",
        "payment.approved after order.created",
        "payment.reversed after inventory.released",
        "shipping.failed after inventory.reserved",
    ];
    assert_eq!(shown.iter().map(String::as_str).collect::<Vec<_>>(), expected);

    Process::of(tail.id().unwrap()).unwrap().signal(Signal::SIGINT);
    let ended = timeout(BOUND, tail.wait()).await.expect("it ends in time").unwrap();
    assert!(ended.success(), "{ended}");
    fleet.close().await;
}
