//! The fifth service as it boots in earnest, on a real Postgres and the in-memory broker.

use database::{
    Limits, PgPool,
    testing::{Link, throwaway, throwaway_url},
};
use events::{Event, Item, Money, OrderCreated, OrderId, PaymentApproved, ProductId};
use loyalty::{PointsGiven, Settings};
use messaging::{
    Broker, Confirm, MemoryBroker, Outgoing, RetrySchedule, Session, SystemEnv, Topology, header,
    queue_name,
};
use reaction::Said;
use service::testing::{running, until};
use std::{path::PathBuf, thread, time::Duration};
use tokio_util::sync::CancellationToken;

/// Boots the service, does the test, and stops it.
async fn while_it_runs(broker: &MemoryBroker, test: impl AsyncFnOnce(&PgPool)) {
    while_it_runs_on(throwaway().await, broker, test).await;
}

async fn while_it_runs_on(pool: PgPool, broker: &MemoryBroker, test: impl AsyncFnOnce(&PgPool)) {
    let settings = Settings { expire_every: Duration::from_millis(50) };
    let service = loyalty::service(&settings).unwrap();
    let stop = CancellationToken::new();
    let around = running(&pool, broker.clone(), health_file(), &stop);
    let running = async { service.run(around).await.unwrap() };
    let tested = async {
        test(&pool).await;
        stop.cancel();
    };
    tokio::join!(running, tested);
}

/// Until the service has booted there are no tables to ask.
async fn count(pool: &PgPool, question: &'static str) -> i64 {
    sqlx::query_scalar(question).fetch_one(pool).await.unwrap_or(-1)
}

/// Of each test its own: a test's thread has the test's name.
fn health_file() -> PathBuf {
    let test = thread::current().name().unwrap_or("loyalty").to_owned();
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{test}.health"))
}

/// Makes sure of the queues of a service that need not run.
async fn queues_of(broker: &MemoryBroker, service: &str, hears: &str) -> Box<dyn Session> {
    broker.connect(&Topology::of(service, &[hears], &RetrySchedule::default())).await.unwrap()
}

/// Payment says that it has the money for five pieces.
async fn approve(broker: &MemoryBroker) -> Outgoing {
    let said = Said::new(&PaymentApproved {
        order_id: OrderId::from_u128(7),
        amount: Money::cents(1250),
        provider_ref: "SIM-1".into(),
        items: vec![Item {
            product_id: ProductId::from_u128(1),
            quantity: 5,
            unit_price: Money::cents(250),
        }],
    });
    let approved = Outgoing::new(&SystemEnv, said, None);
    let session = queues_of(broker, "payment", OrderCreated::NAME).await;
    let publisher = session.publisher().await.unwrap();
    let confirms = publisher.publish(&[approved.publication()]).await.unwrap();
    assert_eq!(confirms, [Confirm::Stored]);
    approved
}

/// A broker at which payment has spoken to those that listen; loyalty does, and has never run.
async fn broker_with(listeners: &[(&str, &str)]) -> (MemoryBroker, Outgoing) {
    let broker = MemoryBroker::default();
    queues_of(&broker, loyalty::NAME, PaymentApproved::NAME).await;
    for (service, hears) in listeners {
        queues_of(&broker, service, hears).await;
    }
    let approved = approve(&broker).await;
    (broker, approved)
}

#[tokio::test]
async fn it_hears_what_was_said_before_it_ever_ran_and_answers_once() {
    let (broker, approved) = broker_with(&[("mail", PointsGiven::NAME)]).await;
    let mail = queue_name("mail", PointsGiven::NAME);
    let heard_in = queue_name(loyalty::NAME, PaymentApproved::NAME);
    while_it_runs(&broker, async |pool| {
        let unsent = async || count(pool, "SELECT COUNT(*) FROM outbox").await;
        until("points are said", async || !broker.messages(&mail).is_empty()).await;
        until("the outbox is empty", async || unsent().await == 0).await;
        assert_eq!(count(pool, "SELECT points FROM points").await, 5);

        // A broker delivers twice what it is not sure to have delivered.
        broker.inject(&heard_in, approved.publication().message);
        until("it is heard again", async || broker.messages(&heard_in).is_empty()).await;
        assert_eq!(unsent().await, 0);
    })
    .await;
    let said = broker.messages(&mail);
    assert_eq!(said.len(), 1);
    assert_eq!(said[0].text(header::CAUSE), Some(approved.id.to_string()));
}

#[tokio::test]
async fn what_nobody_hears_waits_in_the_outbox_for_the_first_who_does() {
    let (broker, _) = broker_with(&[]).await;
    while_it_runs(&broker, async |pool| {
        let refused = "SELECT COUNT(*) FROM outbox WHERE last_error IS NOT NULL";
        until("it was tried in vain", async || count(pool, refused).await == 1).await;

        queues_of(&broker, "mail", PointsGiven::NAME).await;
        let mail = queue_name("mail", PointsGiven::NAME);
        until("it is heard after all", async || broker.messages(&mail).len() == 1).await;
    })
    .await;
}

#[tokio::test]
async fn old_points_expire_by_themselves() {
    let (broker, _) = broker_with(&[]).await;
    while_it_runs(&broker, async |pool| {
        let good = "SELECT COUNT(*) FROM points WHERE NOT expired";
        until("points are given", async || count(pool, good).await == 1).await;
        sqlx::query("UPDATE points SET given_at = now() - INTERVAL '366 days'")
            .execute(pool)
            .await
            .unwrap();
        until("they are good no more", async || count(pool, good).await == 0).await;
    })
    .await;
}

#[tokio::test]
async fn a_link_to_the_database_that_goes_silent_holds_it_up_no_longer_than_its_deadline() {
    let (broker, _) = broker_with(&[("mail", PointsGiven::NAME)]).await;
    let url = throwaway_url().await;
    let link = Link::to(&url).await;
    let limits = Limits::new(Duration::from_secs(1));
    let pool = |url: &str| PgPool::new(url, "test", 8, limits).unwrap();
    let other = pool(&url);
    while_it_runs_on(pool(&link.url(&url)), &broker, async |_| {
        let heard = "SELECT COUNT(*) FROM idempotency_keys";
        for silences in 1..4 {
            until("it is heard", async || count(&other, heard).await == silences).await;
            // In the middle of whatever it is at.
            approve(&broker).await;
            link.silence();
        }
        until("the last is heard", async || count(&other, heard).await == 4).await;
        let unsent = async || count(&other, "SELECT COUNT(*) FROM outbox").await;
        until("the outbox is empty", async || unsent().await == 0).await;
    })
    .await;
}
