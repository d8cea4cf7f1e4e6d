//! Breaks each invariant in the databases of a running system: `saga verify` finds it, all at once
//! and since the last check.

use audit::{Margins, Outcome, Verdict};
use chrono::TimeDelta;
use e2e::{Fleet, PLENTY, order, until};
use kit::verify::{verify, verify_since};
use lab::fill::{Past, fill};
use messaging::{Env, SystemEnv};
use std::{collections::BTreeSet, time::Duration};
use uuid::Uuid;

/// The broken invariant, where it is broken, how, and how it is mended.
const PLANTS: [(u8, &str, &str, &str); 9] = [
    (
        1,
        "order",
        "UPDATE orders SET status = 'CANCELLED' WHERE id = $1",
        "UPDATE orders SET status = 'CONFIRMED' WHERE id = $1",
    ),
    (
        1,
        "order",
        "UPDATE orders SET facts = jsonb_set(facts, '{0,caused_by}', facts #> '{1,event_id}')
         WHERE id = $1",
        "UPDATE orders SET facts = jsonb_set(facts, '{0,caused_by}', 'null') WHERE id = $1",
    ),
    (
        2,
        "payment",
        "UPDATE payments SET amount = amount + 1 WHERE order_id = $1",
        "UPDATE payments SET amount = amount - 1 WHERE order_id = $1",
    ),
    (
        2,
        "payment",
        "UPDATE payments SET status = 'DECLINED' WHERE order_id = $1",
        "UPDATE payments SET status = 'APPROVED' WHERE order_id = $1",
    ),
    (2, "inventory", TWICE, "DELETE FROM idempotency_keys WHERE order_id = $1 AND event_id = $1"),
    (
        4,
        "shipping",
        "UPDATE shipments SET status = 'CANCELLED' WHERE order_id = $1",
        "UPDATE shipments SET status = 'SCHEDULED' WHERE order_id = $1",
    ),
    (
        4,
        "inventory",
        "UPDATE reservations SET status = 'RELEASED' WHERE order_id = $1",
        "UPDATE reservations SET status = 'RESERVED' WHERE order_id = $1",
    ),
    (
        5,
        "shipping",
        "UPDATE idempotency_keys SET event_type = 'payment.failed' WHERE order_id = $1",
        "UPDATE idempotency_keys SET event_type = 'inventory.reserved' WHERE order_id = $1",
    ),
    (
        6,
        "inventory",
        "UPDATE idempotency_keys SET digest = '\\x00' || digest WHERE order_id = $1",
        "UPDATE idempotency_keys SET digest = substr(digest, 2) WHERE order_id = $1",
    ),
];
/// Inventory hears of a second charge, by an event of the order's own time.
const TWICE: &str = "INSERT INTO idempotency_keys (event_id, event_type, order_id, digest)
     VALUES ($1, 'payment.approved', $1, '\\x00')";

async fn since_last(fleet: &Fleet) -> Verdict {
    let (short, none) = (TimeDelta::milliseconds(500), TimeDelta::zero());
    let margins = Margins { young: short, settled: short, late: none };
    verify_since(&fleet.endpoints(), margins, false, |_| {}).await.expect("all is reachable")
}

async fn all(fleet: &Fleet) -> Verdict {
    let wait = Duration::from_secs(60);
    verify(&fleet.endpoints(), wait, &Default::default(), |_| {}).await.expect("all is reachable")
}

/// Checks again until no order is open or young.
async fn is_closed(fleet: &Fleet, orders: usize) {
    until(|| async {
        let verdict = since_last(fleet).await;
        assert_eq!(verdict.violations, [], "nothing is broken");
        let open = (verdict.left, verdict.young, verdict.checked.orders);
        if open == (0, 0, 0) {
            Ok(())
        } else {
            Err(format!("of {orders} orders {open:?} are open"))
        }
    })
    .await;
}

/// The broken invariants by order, those of the stock without one.
fn broken(verdict: &Verdict) -> BTreeSet<(u8, Option<Uuid>)> {
    verdict.violations.iter().map(|found| (found.invariant, found.order_id)).collect()
}

async fn change(fleet: &Fleet, service: &str, sql: &'static str, order: Uuid) {
    let done = sqlx::query(sql).bind(order).execute(&fleet.pool(service).await).await;
    assert!(done.expect("the statement is sound").rows_affected() > 0, "{sql} changes nothing");
}

#[tokio::test]
async fn each_broken_invariant_is_found_by_the_full_check_and_since_the_last() {
    let fleet = Fleet::start().await;
    is_closed(&fleet, 0).await;
    let mut wanted = BTreeSet::new();
    let mut planted = Vec::new();
    for (invariant, service, plant, mend) in PLANTS {
        let id = fleet.place(&order("pix", PLENTY, 1)).await;
        assert_eq!(fleet.ends(id).await["status"], "CONFIRMED");
        change(&fleet, service, plant, id).await;
        wanted.insert((invariant, Some(id)));
        planted.push((service, mend, id));
    }
    // A released reservation is missing in the stock, too.
    wanted.insert((3, None));
    tokio::time::sleep(Duration::from_secs(1)).await;
    for (how, verdict) in [
        ("since the last", since_last(&fleet).await),
        ("once more", since_last(&fleet).await),
        ("in full", all(&fleet).await),
    ] {
        assert_eq!(verdict.outcome, Outcome::Broken);
        let found = broken(&verdict);
        let missed: Vec<_> = wanted.difference(&found).collect();
        assert!(missed.is_empty(), "{how}: {missed:?} among {:#?}", verdict.violations);
        let orders: BTreeSet<_> = found.iter().map(|(_, order)| order).collect();
        assert_eq!(orders.len(), PLANTS.len() + 1, "{how}: {:#?}", verdict.violations);
    }
    // It is told, and by the exit code, though the metrics cannot be written.
    let without_metrics = ["verify", "--metrics", "/nothing/is/here/saga.prom"];
    let told = fleet.saga(&without_metrics).await;
    assert!(told.code == Some(1) && told.out.contains("BROKEN"), "{told:?}");
    for (service, mend, id) in planted {
        change(&fleet, service, mend, id).await;
    }
    assert_eq!(all(&fleet).await.violations, []);
    assert_eq!(fleet.saga(&without_metrics).await.code, Some(2), "they may be old");
    is_closed(&fleet, PLANTS.len()).await;
    fleet.close().await;
}

#[tokio::test]
async fn an_old_order_is_checked_again_when_an_event_names_it_and_always_in_full() {
    let fleet = Fleet::start().await;
    let past = Past { orders: 300, from: SystemEnv.now() - DAY, span: DAY / 2 };
    fill(&fleet.endpoints().databases, past, |_| {}).await.unwrap();
    is_closed(&fleet, 300).await;
    let ids = sqlx::query_scalar("SELECT id FROM orders ORDER BY id LIMIT 2");
    let old: Vec<Uuid> = ids.fetch_all(&fleet.pool("order").await).await.unwrap();

    let (_, service, plant, mend) = PLANTS[2];
    change(&fleet, service, plant, old[0]).await;
    assert_eq!(since_last(&fleet).await.violations, [], "it looks at nothing that is closed");
    assert_eq!(broken(&all(&fleet).await), [(2, Some(old[0]))].into());
    change(&fleet, service, mend, old[0]).await;

    let event = SystemEnv.new_id();
    let twice = "INSERT INTO idempotency_keys (event_id, event_type, order_id, digest)
         VALUES ($2, 'payment.approved', $1, '\\x00')";
    let twice = sqlx::query(twice).bind(old[1]).bind(event);
    twice.execute(&fleet.pool("inventory").await).await.unwrap();
    let found = broken(&since_last(&fleet).await);
    assert!(found.contains(&(2, Some(old[1]))), "{found:?}");
    assert!(broken(&all(&fleet).await).contains(&(2, Some(old[1]))));
    fleet.close().await;
}

#[tokio::test]
async fn an_open_order_is_left_until_it_has_ended() {
    let mut fleet = Fleet::start().await;
    fleet.take("payment").kill();
    let id = fleet.place(&order("pix", PLENTY, 1)).await;
    until(|| async {
        let verdict = since_last(&fleet).await;
        assert_eq!(verdict.outcome, Outcome::Clean);
        if verdict.left == 1 { Ok(()) } else { Err(format!("{} are left", verdict.left)) }
    })
    .await;
    fleet.spawn("payment");
    assert_eq!(fleet.ends(id).await["status"], "CONFIRMED");
    is_closed(&fleet, 1).await;
    fleet.close().await;
}

#[tokio::test]
async fn an_order_of_the_last_minute_does_not_count_as_checked() {
    let fleet = Fleet::start().await;
    is_closed(&fleet, 0).await;
    let id = fleet.place(&order("pix", PLENTY, 1)).await;
    assert_eq!(fleet.ends(id).await["status"], "CONFIRMED");
    let verdict = verify_since(&fleet.endpoints(), Margins::default(), false, |_| {}).await;
    let verdict = verdict.expect("all is reachable");
    assert_eq!((verdict.checked.orders, verdict.young, verdict.left), (0, 1, 0), "{verdict:#?}");
    is_closed(&fleet, 1).await;
    fleet.close().await;
}

const DAY: Duration = Duration::from_hours(24);
