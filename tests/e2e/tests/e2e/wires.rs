//! Listens on the links between services and servers: with TLS nothing of an order is heard, and
//! without it everything, so that the test can fail.

use e2e::{Fleet, PLENTY, Recorder, SERVICES, order};
use servers::release;
use std::path::PathBuf;
use uuid::Uuid;

/// On the link to RabbitMQ: events, and whose they are.
fn told_to_the_broker(order: Uuid) -> Vec<Vec<u8>> {
    let id = order.to_string();
    let texts = ["order.created", "payment.approved", "\"payment_method\"", &id];
    texts.map(|text| text.as_bytes().to_vec()).into()
}

/// On the links to the databases: statements, and their values.
fn told_to_the_databases(order: Uuid) -> Vec<Vec<u8>> {
    let texts = ["INSERT INTO", "SELECT", "\"payment_method\"", "idempotency_keys"];
    let mut all: Vec<_> = texts.map(|text| text.as_bytes().to_vec()).into();
    // In Postgres' binary format.
    all.push(order.as_bytes().to_vec());
    all
}

/// What was heard of an order that is confirmed, and what was not: by the broker's link, by the
/// databases'.
async fn heard(root: Option<PathBuf>, is_encrypted: bool) -> [(Vec<bool>, usize); 2] {
    let mut fleet = Fleet::prepare_on_own_servers(root, is_encrypted).await;
    let broker = Recorder::before(&fleet.broker.amqp_url).await;
    let databases = Recorder::before(fleet.database_url("order")).await;
    for service in SERVICES {
        let amqp = broker.url(&fleet.broker.amqp_url_of(service));
        let database = databases.url(fleet.database_url(service));
        fleet.spawn_as(service, service, &[("AMQP_URL", &amqp), ("DATABASE_URL", &database)]);
    }
    fleet.ready().await;
    let id = fleet.place(&order("pix", PLENTY, 1)).await;
    fleet.reaches(id, "CONFIRMED").await;
    let dead = fleet.place(&order("card_declined", PLENTY, 1)).await;
    fleet.reaches(dead, "PAYMENT_FAILED").await;
    // The operator's commands connect in the same way.
    let verified = fleet.saga(&["verify"]).await;
    assert_eq!(verified.code, Some(0), "{verified:?}");
    let lists = fleet.saga(&["dlq", "list"]).await;
    assert_eq!(lists.code, Some(0), "{lists:?}");
    let said = |recorder: &Recorder, told: Vec<Vec<u8>>| {
        (told.iter().map(|bytes| recorder.has_heard(bytes)).collect(), recorder.length())
    };
    let heard =
        [said(&broker, told_to_the_broker(id)), said(&databases, told_to_the_databases(id))];
    fleet.close().await;
    heard
}

async fn nothing_is_heard(root: Option<PathBuf>) {
    for (heard, length) in heard(root, true).await {
        assert!(heard.iter().all(|heard| !heard), "{heard:?}");
        // Something has crossed it.
        assert!(length > 10_000, "{length}");
    }
}

#[tokio::test]
async fn with_tls_nobody_hears_an_event_an_order_or_a_statement() {
    nothing_is_heard(Fleet::given_rabbitmq()).await;
}

#[tokio::test]
async fn the_same_on_the_rabbitmq_of_debian_14() {
    let roots = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/rabbitmq"));
    if let Some(root) = release::rabbitmq_or_skip(&roots, "forky").await {
        nothing_is_heard(Some(root)).await;
    }
}

#[tokio::test]
async fn without_tls_everything_is_heard() {
    for (heard, _) in heard(Fleet::given_rabbitmq(), false).await {
        assert!(heard.iter().all(|heard| *heard), "{heard:?}");
    }
}
