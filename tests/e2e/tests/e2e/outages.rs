//! A server stops and starts again: no order is lost, and every order continues.

use e2e::{Fleet, PLENTY, order, until};
use futures::future::join_all;
use reqwest::StatusCode;

#[tokio::test]
async fn orders_are_taken_while_rabbitmq_is_away_and_go_on_when_it_is_back() {
    let mut fleet = Fleet::start_on_own_servers().await;
    let wish = order("pix", PLENTY, 1);
    let before = join_all((0..40).map(|_| fleet.place(&wish))).await;
    fleet.own_rabbit.as_mut().unwrap().kill().await.unwrap();
    let during = join_all((0..40).map(|_| fleet.place(&wish))).await;
    let unready = fleet.http.get(format!("{}/readyz", fleet.order_url));
    until(|| async {
        match unready.try_clone().unwrap().send().await.unwrap().status() {
            StatusCode::SERVICE_UNAVAILABLE => Ok(()),
            other => Err(other.to_string()),
        }
    })
    .await;
    let alive = fleet.http.get(format!("{}/healthz", fleet.order_url)).send().await.unwrap();
    assert_eq!(alive.status(), StatusCode::OK);
    until(|| async {
        let check = fleet.process("payment").healthcheck();
        if check.status.success() { Err("still healthy".into()) } else { Ok(()) }
    })
    .await;
    assert!(fleet.process("payment").is_alive(), "it would be killed for what is not its fault");
    fleet.own_rabbit.as_mut().unwrap().restart().await.unwrap();
    for id in before.into_iter().chain(during) {
        assert_eq!(fleet.ends(id).await["status"], "CONFIRMED");
    }
    fleet.verify().await;
    fleet.close().await;
}

#[tokio::test]
async fn postgres_is_killed_under_load_and_every_order_that_was_taken_ends() {
    let mut fleet = Fleet::start_on_own_servers().await;
    // No message comes: it is not by failing to handle one that order knows of it.
    shows(&fleet, "\nconsuming 1\n").await;
    fleet.own_postgres.as_mut().unwrap().kill().await.unwrap();
    shows(&fleet, "\nconsuming 0\n").await;
    fleet.own_postgres.as_mut().unwrap().restart().await.unwrap();
    shows(&fleet, "\nconsuming 1\n").await;
    let wish = order("pix", PLENTY, 1);
    let placed = join_all((0..60).map(|_| fleet.place(&wish))).await;
    fleet.own_postgres.as_mut().unwrap().kill().await.unwrap();
    let refused = fleet.post(&wish).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.headers().contains_key("retry-after"));
    fleet.own_postgres.as_mut().unwrap().restart().await.unwrap();
    for id in placed {
        assert_eq!(fleet.ends(id).await["status"], "CONFIRMED");
    }
    fleet.verify().await;
    fleet.close().await;
}

/// On order's page of metrics, soon.
async fn shows(fleet: &Fleet, line: &str) {
    let metrics = fleet.http.get(format!("{}/metrics", fleet.order_url));
    until(|| async {
        let answer = metrics.try_clone().unwrap().send().await.map_err(|why| why.to_string())?;
        let page = answer.text().await.map_err(|why| why.to_string())?;
        if page.contains(line) { Ok(()) } else { Err(page) }
    })
    .await;
}
