//! A service beside the saga is checked, explained and shown like the four, here loyalty.

use crate::history::{confirmed, reaches, with_loyalty};
use audit::{Endpoints, Outcome, Readers, Told, Verdict};
use database::{Limits, PgPool, testing::throwaway_url};
use e2e::{BOUND, Fleet, PLENTY, order, saga};
use events::{Event, PaymentApproved, Step};
use kit::verify::READERS;
use loyalty::PointsGiven;
use messaging::{RetrySchedule, Topology};
use saga_cli::why::{Did, Place, Report, why_with};
use serde_json::Value;
use std::{fs, process::Stdio, time::Duration};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    time::timeout,
};
use uuid::Uuid;

const BESIDE: &[Step] = &[Step {
    service: loyalty::NAME,
    hears: PaymentApproved::NAME,
    may_say: &[PointsGiven::NAME],
    compensates: false,
}];
const LOSE: &str = "DELETE FROM idempotency_keys
    WHERE event_id = (SELECT event_id FROM idempotency_keys ORDER BY event_id DESC LIMIT 1)
    RETURNING order_id";

async fn verified(endpoints: &Endpoints, wait: Duration) -> Verdict {
    let readers = Readers { add_ons: BESIDE, ..READERS };
    audit::verify(endpoints, &readers, wait, &Told::default(), |_| {}).await.unwrap()
}

async fn explained(endpoints: &Endpoints, order: Uuid) -> Report {
    why_with(BESIDE, endpoints, &order.to_string()).await.unwrap()
}

/// Places an order while `saga tail` runs, and returns it with the event of loyalty that is shown.
async fn tailed(fleet: &Fleet, endpoints: &Endpoints) -> (Uuid, Value) {
    let places = fleet.file("places.json");
    fs::write(&places, serde_json::to_string(endpoints).unwrap()).unwrap();
    let mut tail = saga(&["tail", "--json", "--url", &fleet.order_url, "--places"]);
    let tail = tail.arg(places).stdout(Stdio::piped()).kill_on_drop(true);
    let mut tail = tail.spawn().unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    // Once it has shown an event, it is connected.
    loop {
        fleet.place(&order("pix", PLENTY, 1)).await;
        if timeout(Duration::from_secs(1), lines.next_line()).await.is_ok() {
            break;
        }
    }
    let id = fleet.place(&order("pix", PLENTY, 1)).await;
    loop {
        let line = timeout(BOUND, lines.next_line()).await.expect("it is shown in time");
        let said: Value = serde_json::from_str(&line.unwrap().expect("it goes on")).unwrap();
        if said["order_id"] == id.to_string() && said["service"] == loyalty::NAME {
            return (id, said);
        }
    }
}

#[tokio::test]
async fn what_a_service_beside_the_saga_does_is_verified_explained_and_shown() {
    let fleet = Fleet::start().await;
    confirmed(&fleet, 1).await;
    let (url, mut endpoints) = (throwaway_url().await, fleet.endpoints());
    let absent = verified(&endpoints, BOUND).await;
    assert_eq!(absent.unchecked, [("loyalty".into(), None)].into());
    assert!(absent.is_complete(), "it is no part of this system");
    endpoints.databases.insert("loyalty".into(), url.clone());
    let early = verified(&endpoints, BOUND).await;
    let why = early.unchecked["loyalty"].as_deref().unwrap_or_default();
    assert!(why.contains("has not made its tables yet: start it"), "{early:#?}");
    assert!(early.outcome == Outcome::Clean && !early.is_complete());

    let schedule = RetrySchedule::default();
    let topology = Topology::whole(&schedule).and("loyalty", &[PaymentApproved::NAME], &schedule);
    fleet.broker.import(topology.definitions(&fleet.broker.vhost)).await;
    let pool = PgPool::new(&url, "test", 8, Limits::new(BOUND)).unwrap();
    with_loyalty(&fleet, pool, async |pool| {
        // Its tables are there.
        reaches(pool, 0).await;
        let (id, said) = tailed(&fleet, &endpoints).await;
        assert_eq!(
            (&said["event"], &said["after"]),
            (&"loyalty.points-given".into(), &"payment.approved".into())
        );
        assert_eq!(said["detail"]["points"], 1, "{said}");
        let verdict = verified(&endpoints, BOUND).await;
        assert!(verdict.outcome == Outcome::Clean && verdict.unchecked.is_empty(), "{verdict:#?}");
        let report = explained(&endpoints, id).await;
        let did: Vec<_> = report.beside.iter().map(|it| (it.did, it.event.as_str())).collect();
        let wanted = [(Did::Said, "loyalty.points-given"), (Did::Handled, "payment.approved")];
        assert!(wanted.iter().all(|it| did.contains(it)) && report.missing.is_empty(), "{did:?}");

        // The order from before its first start is none of its own; this one is.
        let lost: Uuid = sqlx::query_scalar(LOSE).fetch_one(pool).await.unwrap();
        let verdict = verified(&endpoints, Duration::ZERO).await;
        let [broken] = verdict.violations.as_slice() else { panic!("{verdict:#?}") };
        assert!(broken.why.contains("loyalty has not handled payment.approved"), "{broken}");
        let report = explained(&endpoints, lost).await;
        let [missing] = report.missing.as_slice() else { panic!("{report:#?}") };
        assert_eq!((&*missing.service, missing.consumers), ("loyalty", Some(1)));
        assert!(matches!(missing.place, Place::Queue { ready: 0 }), "{missing:?}");
    })
    .await;
    fleet.close().await;
}
