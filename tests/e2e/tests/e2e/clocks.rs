//! Services with a wrong clock report it, and do no harm.

use e2e::{Fleet, OVERSIZED, PLENTY, SERVICES, SOLD_OUT, WrongClock, free_address, order, until};
use futures::future::join_all;
use messaging::{QueueShape, RetrySchedule, Topology};
use reqwest::StatusCode;
use std::fs;
use uuid::Uuid;

fn lent(settings: &[(String, String)]) -> Vec<(&str, &str)> {
    settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

/// Waits until a process is ready and reports this clock error.
async fn complains(fleet: &Fleet, name: &str, how: &str) {
    let expected = format!("the machine's clock is {how} the database's");
    until(|| async {
        let process = fleet.process(name);
        let told = String::from_utf8_lossy(&process.healthcheck().stderr).into_owned();
        if told.contains(&expected) { Ok(()) } else { Err(format!("{told}\n{}", process.log())) }
    })
    .await;
    assert!(fleet.process(name).is_alive());
}

async fn listens(fleet: &Fleet) {
    let url = format!("{}/healthz", fleet.order_url);
    until(|| async { fleet.http.get(&url).send().await.map(drop).map_err(|why| why.to_string()) })
        .await;
}

/// There are no dead letters.
async fn none_dead(fleet: &Fleet) {
    let queues = Topology::whole(&RetrySchedule::default()).queues.into_iter();
    let parked = queues.filter(|(_, shape)| *shape == QueueShape::Parked);
    let parked: Vec<String> = parked.map(|(name, _)| name).collect();
    let dead = fleet.broker.ready(&parked).await;
    assert!(dead.iter().all(|count| *count == 0), "{dead:?} in {parked:?}");
}

async fn all_end(fleet: &Fleet, placed: Vec<(Uuid, &str)>) {
    for (id, status) in placed {
        assert_eq!(fleet.ends(id).await["status"], status);
    }
}

/// Each with its ending.
async fn place_some(fleet: &Fleet) -> Vec<(Uuid, &'static str)> {
    let wishes = [
        (order("pix", PLENTY, 1), "CONFIRMED"),
        (order("card_flaky", PLENTY, 1), "CONFIRMED"),
        (order("pix", SOLD_OUT, 1), "CANCELLED"),
        (order("pix", OVERSIZED, 1), "CANCELLED"),
        (order("card_declined", PLENTY, 1), "PAYMENT_FAILED"),
    ];
    join_all(wishes.into_iter().map(async |(wish, end)| (fleet.place(&wish).await, end))).await
}

#[tokio::test]
async fn a_replica_whose_clock_is_ahead_cancels_no_order_before_its_time() {
    let clock = WrongClock::installed().await;
    let mut fleet = Fleet::start().await;
    fleet.take("payment").kill();
    let wish = order("pix", PLENTY, 1);
    let running = join_all((0..20).map(|_| fleet.place(&wish))).await;
    // The deadline job checks this order last.
    let late = fleet.place(&wish).await;
    fleet.take("order").kill();
    sqlx::query("UPDATE orders SET created_at = created_at - INTERVAL '1 hour' WHERE id = $1")
        .bind(late)
        .execute(&fleet.pool("order").await)
        .await
        .unwrap();
    fleet.spawn_as("order", "order", &lent(&clock.off_by("+15m")));
    listens(&fleet).await;
    let is_cancelled = async |id| fleet.get(id).await.to_string().contains("cancel-requested");
    until(|| async {
        if is_cancelled(late).await { Ok(()) } else { Err("the late one goes on".into()) }
    })
    .await;
    for id in &running {
        assert!(!is_cancelled(*id).await, "{id} has ten minutes");
    }
    complains(&fleet, "order", "15 min ahead of").await;
    assert_eq!(fleet.process("order").log().matches("15 min ahead of").count(), 1, "said once");
    let ready = fleet.http.get(format!("{}/readyz", fleet.order_url)).send().await.unwrap();
    assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(ready.text().await.unwrap().contains("15 min ahead of"));
    fleet.spawn("payment");
    all_end(&fleet, running.into_iter().map(|id| (id, "CONFIRMED")).collect()).await;
    all_end(&fleet, vec![(late, "CANCELLED")]).await;
    fleet.verify().await;
    fleet.close().await;
}

#[tokio::test]
async fn replicas_a_day_ahead_and_a_day_behind_bring_every_order_to_its_end() {
    let clock = WrongClock::installed().await;
    let mut fleet = Fleet::prepare(&[]).await;
    let behind_address = free_address();
    for service in SERVICES {
        fleet.spawn_as(service, service, &lent(&clock.off_by("+1d")));
        let mut behind = clock.off_by("-1d");
        behind.push(("HTTP_ADDR".into(), behind_address.clone()));
        fleet.spawn_as(service, &format!("{service}-behind"), &lent(&behind));
    }
    for service in SERVICES {
        complains(&fleet, service, "24 h ahead of").await;
        complains(&fleet, &format!("{service}-behind"), "24 h behind").await;
    }
    let ahead_url = fleet.order_url.clone();
    for url in [format!("http://{behind_address}"), ahead_url] {
        fleet.order_url = url;
        let placed = place_some(&fleet).await;
        let mine = format!(
            "SELECT count(*) FROM orders WHERE id = '{}'
                 AND abs(EXTRACT(EPOCH FROM now() - created_at)) < 300",
            placed[0].0
        );
        let in_time: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(mine))
            .fetch_one(&fleet.pool("order").await)
            .await
            .unwrap();
        assert_eq!(in_time, 1, "it is dated by the database");
        all_end(&fleet, placed).await;
    }
    none_dead(&fleet).await;
    fleet.verify().await;
    fleet.close().await;
}

#[tokio::test]
async fn a_clock_that_jumps_by_a_day_while_orders_run_stops_nothing() {
    let clock = WrongClock::installed().await;
    let mut fleet = Fleet::prepare(&[]).await;
    let file = fleet.file("clock");
    fs::write(&file, "+0").unwrap();
    for service in SERVICES {
        fleet.spawn_as(service, service, &lent(&clock.off_by_file(&file)));
    }
    fleet.ready().await;
    for (jump, how) in [("+1d", "24 h ahead of"), ("-1d", "24 h behind")] {
        let mut placed = place_some(&fleet).await;
        fs::write(&file, jump).unwrap();
        placed.extend(place_some(&fleet).await);
        for service in SERVICES {
            complains(&fleet, service, how).await;
        }
        placed.extend(place_some(&fleet).await);
        all_end(&fleet, placed).await;
    }
    fs::write(&file, "+0").unwrap();
    fleet.ready().await;
    none_dead(&fleet).await;
    fleet.verify().await;
    fleet.close().await;
}
