//! A service's broker user may not forge, steal or delete another service's messages: checks its
//! permissions on a real RabbitMQ.

use e2e::{BrokerView, Fleet, PLENTY, SERVICES, order};
use lapin::{
    Channel, Connection, ConnectionProperties,
    options::{
        BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions,
        ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions,
        QueueDeleteOptions, QueuePurgeOptions,
    },
    types::FieldTable,
};
use messaging::{Message, dead_letters, exchange_of, queue_name, wire};

/// An action of an attacker who has taken over a service.
#[derive(Clone, Debug)]
enum Deed {
    Publish { exchange: String, key: String },
    Read { queue: String },
    Consume { queue: String },
    Delete { queue: String },
    Purge { queue: String },
    Unbind { queue: String, exchange: String, key: String },
    Eavesdrop { queue: String, exchange: String },
    DeleteExchange { exchange: String },
    Declare { queue: String },
    DeclareExchange { exchange: String },
}

impl Deed {
    async fn attempt(&self, channel: &Channel) -> lapin::Result<()> {
        let nothing = FieldTable::default();
        match self {
            Self::Publish { exchange, key } => return publish(channel, exchange, key).await,
            Self::Read { queue } => {
                channel.basic_get(queue.as_str().into(), BasicGetOptions::default()).await?;
            }
            Self::Consume { queue } => {
                let options = BasicConsumeOptions::default();
                channel.basic_consume(queue.as_str().into(), "".into(), options, nothing).await?;
            }
            Self::Delete { queue } => {
                let options = QueueDeleteOptions::default();
                channel.queue_delete(queue.as_str().into(), options).await?;
            }
            Self::Purge { queue } => {
                channel.queue_purge(queue.as_str().into(), QueuePurgeOptions::default()).await?;
            }
            Self::Unbind { queue, exchange, key } => {
                let (queue, exchange) = (queue.as_str().into(), exchange.as_str().into());
                channel.queue_unbind(queue, exchange, key.as_str().into(), nothing).await?;
            }
            Self::Eavesdrop { queue, exchange } => {
                let (queue, exchange) = (queue.as_str().into(), exchange.as_str().into());
                let options = QueueBindOptions::default();
                channel.queue_bind(queue, exchange, "#".into(), options, nothing).await?;
            }
            Self::DeleteExchange { exchange } => {
                let options = ExchangeDeleteOptions::default();
                channel.exchange_delete(exchange.as_str().into(), options).await?;
            }
            Self::Declare { queue } => {
                let options = QueueDeclareOptions { durable: true, ..Default::default() };
                channel.queue_declare(queue.as_str().into(), options, nothing).await?;
            }
            Self::DeclareExchange { exchange } => {
                let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
                let kind = lapin::ExchangeKind::Topic;
                channel.exchange_declare(exchange.as_str().into(), kind, options, nothing).await?;
            }
        }
        Ok(())
    }
}

#[expect(clippy::disallowed_methods, reason = "a forger does what no service would")]
async fn publish(channel: &Channel, exchange: &str, key: &str) -> lapin::Result<()> {
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let properties = wire::properties(&Message::default());
    let options = BasicPublishOptions::default();
    let (exchange, key) = (exchange.into(), key.into());
    channel.basic_publish(exchange, key, options, b"{}", properties).await?.await.map(|_| ())
}

fn forgeries(service: &str, other: &str) -> Vec<Deed> {
    let (own_exchange, exchange) = (exchange_of(service), exchange_of(other));
    let hears = |service: &str| {
        let step = events::SAGA.iter().find(|step| step.service == service).expect("it hears");
        (queue_name(service, step.hears), events::said_by(step.hears))
    };
    let ((own_queue, _), (queue, said_by)) = (hears(service), hears(other));
    let said = |service: &str| format!("{service}.anything");
    vec![
        // Another service's event: by its exchange, by ours, directly into its queue, and by its
        // retry path.
        Deed::Publish { exchange, key: said(other) },
        Deed::Publish { exchange: own_exchange.clone(), key: said(other) },
        Deed::Publish { exchange: String::new(), key: queue.clone() },
        Deed::Publish { exchange: format!("{other}.dlx"), key: queue.clone() },
        Deed::Publish { exchange: format!("{other}.retry"), key: queue.clone() },
        Deed::Publish { exchange: "unrouted".into(), key: String::new() },
        Deed::Publish { exchange: "amq.topic".into(), key: said(service) },
        Deed::Read { queue: queue.clone() },
        Deed::Consume { queue: queue.clone() },
        Deed::Read { queue: dead_letters(&own_queue) },
        Deed::Read { queue: "unrouted".into() },
        Deed::Purge { queue: queue.clone() },
        Deed::Purge { queue: dead_letters(&own_queue) },
        Deed::Delete { queue: own_queue.clone() },
        Deed::Delete { queue: queue.clone() },
        Deed::Unbind { queue, exchange: exchange_of(said_by), key: "#".into() },
        Deed::Eavesdrop { queue: own_queue, exchange: exchange_of(other) },
        Deed::DeleteExchange { exchange: own_exchange },
        Deed::Declare { queue: format!("{service}.hidden") },
        Deed::DeclareExchange { exchange: format!("{service}.hidden") },
    ]
}

async fn comes_as(broker: &BrokerView, service: &str) -> Connection {
    let url = broker.amqp_url_of(service);
    Connection::connect(&url, ConnectionProperties::default()).await.expect("it may log in")
}

#[tokio::test]
async fn a_service_that_is_taken_over_can_neither_lie_nor_steal_nor_destroy() {
    let fleet = Fleet::prepare(&[]).await;
    for service in SERVICES {
        let connection = comes_as(&fleet.broker, service).await;
        for other in SERVICES.into_iter().filter(|other| *other != service) {
            for deed in forgeries(service, other) {
                let channel = connection.create_channel().await.expect("a channel");
                let refused = deed.attempt(&channel).await.expect_err("it must be refused");
                let refused = refused.to_string();
                assert!(refused.contains("ACCESS_REFUSED"), "{service}: {deed:?}: {refused}");
            }
        }
        // The user's intended actions are allowed, so the refusals above have no other cause.
        let channel = connection.create_channel().await.expect("a channel");
        let own = Deed::Publish { exchange: exchange_of(service), key: format!("{service}.said") };
        own.attempt(&channel).await.expect("its own events it may say");
    }
    fleet.close().await;
}

/// Services have no access to the management API.
#[tokio::test]
async fn a_service_may_not_look_into_the_management() {
    let fleet = Fleet::prepare(&[]).await;
    for service in SERVICES {
        let login = format!("{service}:{service}");
        let url = fleet.broker.management_url.replace("admin:admin", &login);
        let answer = fleet.http.get(format!("{url}/api/overview")).send().await.unwrap();
        assert_eq!(answer.status(), 401, "{service}");
    }
    fleet.close().await;
}

/// The service exits with an error that names the missing queue, instead of waiting for ever.
#[tokio::test]
async fn a_service_that_may_not_declare_says_which_queue_is_missing() {
    let mut fleet = Fleet::prepare(&[]).await;
    fleet.broker.delete_queue("payment.order-created").await;
    fleet.spawn("payment");
    let mut payment = fleet.take("payment");
    assert!(!payment.ended().await.success());
    let last = payment.log().lines().last().unwrap_or_default().to_owned();
    assert!(last.contains("payment.order-created") && last.contains("saga topology"), "{last}");
    fleet.close().await;
}

/// A service with a broker of its own needs no preparation.
#[tokio::test]
async fn services_that_may_declare_make_what_is_missing() {
    let mut fleet = Fleet::prepare(&[]).await;
    fleet.broker.delete_queue("payment.order-created").await;
    fleet.broker.delete_queue("inventory.payment-approved").await;
    let admin = fleet.broker.amqp_url.clone();
    for service in SERVICES {
        fleet.spawn_as(service, service, &[("AMQP_URL", &admin)]);
    }
    fleet.ready().await;
    let placed = fleet.place(&order("credit_card", PLENTY, 1)).await;
    fleet.reaches(placed, "CONFIRMED").await;
    fleet.verify().await;
    fleet.close().await;
}
