//! Runs the saga on RabbitMQ versions newer than the machine's own, with least-privilege users:
//! endings, retries, dead letters and the page work as on the machine's version.

use crate::dead_letters::{DLQ, QUEUE, TABLE, die, ready};
use e2e::{Fleet, OVERSIZED, PLENTY, SERVICES, SOLD_OUT, mend, order, until};
use messaging::{Message, RetrySchedule, Topology};
use serde_json::json;

#[tokio::test]
async fn the_saga_runs_on_the_rabbitmq_of_debian_13() {
    if let Some(fleet) = runs_on("trixie").await {
        the_page_sees_what_it_may(fleet).await;
    }
}

#[tokio::test]
async fn the_saga_runs_on_the_rabbitmq_of_debian_14() {
    if let Some(mut fleet) = runs_on("forky").await {
        a_consumer_that_was_cancelled_is_opened_again(&mut fleet).await;
        the_page_sees_what_it_may(fleet).await;
    }
}

async fn runs_on(release: &str) -> Option<Fleet> {
    let fleet = Fleet::start_on(release, &[("DEMO", "1")]).await?;
    every_ending(&fleet).await;
    dead_letters_come_back(&fleet).await;
    Some(fleet)
}

async fn every_ending(fleet: &Fleet) {
    let wishes = [
        ("pix", PLENTY, "CONFIRMED"),
        ("card_flaky", PLENTY, "CONFIRMED"),
        ("card_declined", PLENTY, "PAYMENT_FAILED"),
        ("card_unavailable", PLENTY, "PAYMENT_FAILED"),
        ("pix", SOLD_OUT, "CANCELLED"),
        ("pix", OVERSIZED, "CANCELLED"),
    ];
    let cancelled = fleet.place(&order("card_flaky", PLENTY, 1)).await;
    assert_eq!(fleet.cancel(cancelled).await, 202);
    for (method, product, status) in wishes {
        let id = fleet.place(&order(method, product, 1)).await;
        assert_eq!(fleet.ends(id).await["status"], status, "{method}");
    }
    assert_eq!(fleet.ends(cancelled).await["status"], "CANCELLED");
}

/// Two dead letters: a malformed message, and one that passed all retry tiers.
async fn dead_letters_come_back(fleet: &Fleet) {
    fleet.broker.put(QUEUE, &Message { body: b"nonsense".into(), ..Message::default() }).await;
    until(|| async {
        let dead = ready(fleet, DLQ).await;
        if dead == 1 { Ok(()) } else { Err(format!("{dead} dead letters")) }
    })
    .await;
    assert_eq!(fleet.broker.drain(DLQ).await.len(), 1);
    let stock = fleet.pool("inventory").await;
    let orders = die(fleet, &stock, 1).await;
    mend(&stock, TABLE).await;
    let replayed = fleet.saga(&["dlq", "replay", QUEUE, "--yes"]).await;
    assert_eq!(replayed.code, Some(0), "{replayed:?}");
    assert_eq!(fleet.ends(orders[0]).await["status"], "CONFIRMED");
    fleet.verify().await;

    let asked = Topology::whole(&RetrySchedule::default()).definitions(&fleet.broker.vhost);
    fleet.broker.import(asked).await;
    let check = fleet.saga(&["topology", "--check"]).await;
    assert_eq!(check.code, Some(0), "{check:?}");
}

/// RabbitMQ 4.3 cancels a consumer that does not acknowledge in time, and leaves its channel open.
async fn a_consumer_that_was_cancelled_is_opened_again(fleet: &mut Fleet) {
    let patience = async |fleet: &Fleet, ms: u32| {
        let policy = json!({
            "vhost": fleet.broker.vhost, "name": "patience", "pattern": format!("^{QUEUE}$"),
            "apply-to": "queues", "priority": 9, "definition": { "consumer-timeout": ms },
        });
        fleet.broker.import(json!({ "policies": [policy] })).await;
    };
    patience(fleet, 500).await;
    // The setting applies to consumers that start later.
    fleet.take("inventory").kill();
    fleet.spawn("inventory");
    fleet.ready().await;
    let stock = fleet.pool("inventory").await;
    let mut lock = stock.acquire().await.unwrap();
    sqlx::raw_sql("BEGIN; LOCK TABLE reservations").execute(&mut *lock).await.unwrap();
    let id = fleet.place(&order("pix", PLENTY, 1)).await;
    // The message has been requeued: the consumer is cancelled, though RabbitMQ 4.3.6 still counts
    // it.
    fleet.holds(QUEUE, 1).await;
    patience(fleet, 60_000).await;
    sqlx::raw_sql("ROLLBACK").execute(&mut *lock).await.unwrap();
    assert_eq!(fleet.ends(id).await["status"], "CONFIRMED");
    fleet.holds(QUEUE, 0).await;
    let log = fleet.process("inventory").log();
    assert!(log.contains("it ended a consumer"), "{log}");
    fleet.ready().await;
    fleet.verify().await;
}

/// A service's topology as that service; the whole topology, where an operator is named.
async fn the_page_sees_what_it_may(mut fleet: Fleet) {
    let seen = async |fleet: &Fleet| {
        let page = fleet.http.get(&fleet.order_url).send().await.unwrap().text().await.unwrap();
        let consumers = |service: &&str| {
            let number = format!(r#"data-number="{service}.consumers">1 consumer<"#);
            page.contains(&number)
        };
        SERVICES.into_iter().filter(consumers).collect::<Vec<_>>()
    };
    let sees = async |fleet: &Fleet, wanted: &[&str]| {
        until(|| async {
            let seen = seen(fleet).await;
            if seen == wanted { Ok(()) } else { Err(format!("{seen:?}")) }
        })
        .await;
    };
    sees(&fleet, &["order"]).await;
    fleet.take("order").kill();
    let operator = fleet.broker.amqp_url.clone();
    fleet.spawn_as("order", "order", &[("OPERATOR_AMQP_URL", &operator)]);
    fleet.ready().await;
    sees(&fleet, &SERVICES).await;
    fleet.close().await;
}
