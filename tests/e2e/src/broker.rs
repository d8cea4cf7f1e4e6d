//! RabbitMQ as an operator sees it: one virtual host, by the management API and by AMQP.

use dead_letters::FetchedMessages;
use lapin::{
    Channel, Connection,
    options::{BasicPublishOptions, QueueBindOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable},
};
use messaging::{Message, Publication, RabbitMq, wire};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use servers::Certificates;

const TAP: &str = "tap";

pub struct BrokerView {
    /// With the virtual host.
    pub amqp_url: String,
    /// With user and password.
    pub management_url: String,
    pub vhost: String,
    http: Client,
}

impl BrokerView {
    /// A new virtual host on a running broker.
    pub async fn create(amqp_url: &str, management_url: &str, vhost: &str) -> Self {
        Self::create_with(amqp_url, management_url, vhost, None).await
    }

    /// On a broker with these certificates, which are the logins.
    pub async fn create_with(
        amqp_url: &str,
        management_url: &str,
        vhost: &str,
        tls: Option<&Certificates>,
    ) -> Self {
        let parameters = tls.map(|tls| format!("?{}", tls.amqp_parameters("admin")));
        let parameters = parameters.unwrap_or_default();
        let view = Self {
            amqp_url: format!("{amqp_url}/{vhost}{parameters}"),
            management_url: management_url.into(),
            vhost: vhost.into(),
            // The management server closes idle connections, perhaps just as one is used again.
            http: https::plain().pool_max_idle_per_host(0).build().expect("a client"),
        };
        view.ask(Method::PUT, &format!("vhosts/{vhost}"), json!({})).await;
        let all = json!({"configure": ".*", "write": ".*", "read": ".*"});
        view.ask(Method::PUT, &format!("permissions/{vhost}/admin"), all).await;
        view
    }

    /// Imports definitions in RabbitMQ's own format.
    pub async fn import(&self, definitions: Value) {
        self.ask(Method::POST, "definitions", definitions).await;
    }

    /// Has these queues, a regular expression, refuse what comes beyond so many messages.
    pub async fn limit(&self, queues: &str, messages: u32) {
        let policy = json!({
            "pattern": queues, "apply-to": "queues", "priority": 9,
            "definition": { "max-length": messages, "delivery-limit": 1_000_000 },
        });
        self.ask(Method::PUT, &format!("policies/{}/limit", self.vhost), policy).await;
    }

    pub async fn end_limit(&self) {
        self.ask(Method::DELETE, &format!("policies/{}/limit", self.vhost), Value::Null).await;
    }

    /// Connects as this service's user.
    pub fn amqp_url_of(&self, service: &str) -> String {
        let url = self.amqp_url.replace("admin:admin", &format!("{service}:{service}"));
        // Its certificate, where that is the login.
        url.replace("/admin.", &format!("/{service}."))
    }

    pub async fn delete(&self) {
        self.ask(Method::DELETE, &format!("vhosts/{}", self.vhost), Value::Null).await;
    }

    async fn ask(&self, method: Method, path: &str, body: Value) {
        let url = format!("{}/api/{path}", self.management_url);
        let answer = self.http.request(method, &url).json(&body).send().await;
        let answer = answer.expect("the management page answers");
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
    }

    /// A channel with its connection, which closes when dropped.
    pub async fn channel(&self) -> (Connection, Channel) {
        let connection =
            RabbitMq::connection(&self.amqp_url, "test").await.expect("the broker lets us in");
        let channel = connection.create_channel().await.expect("a channel can be opened");
        (connection, channel)
    }

    /// The number of ready messages in these queues; delivered ones are not counted.
    pub async fn ready(&self, queues: &[String]) -> Vec<u32> {
        let options = QueueDeclareOptions { passive: true, ..Default::default() };
        let (_connection, channel) = self.channel().await;
        let mut counts = Vec::new();
        for queue in queues {
            let declared =
                channel.queue_declare(queue.as_str().into(), options, FieldTable::default());
            counts.push(declared.await.expect("the queue is there").message_count());
        }
        counts
    }

    /// A new quorum queue with so many messages, whose bodies are their numbers.
    #[expect(clippy::disallowed_methods, reason = "these messages are of no saga")]
    pub async fn fill(&self, queue: &str, messages: usize) {
        let (_connection, channel) = self.channel().await;
        let durable = QueueDeclareOptions { durable: true, ..Default::default() };
        let mut quorum = FieldTable::default();
        quorum.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        channel.queue_declare(queue.into(), durable, quorum).await.expect("a new queue");
        channel.confirm_select(Default::default()).await.expect("confirms are to be had");
        let mut confirms = Vec::new();
        for number in 0..messages {
            let (options, body) = (BasicPublishOptions::default(), number.to_string());
            let (key, properties) = (queue.into(), Default::default());
            let sent = channel.basic_publish("".into(), key, options, body.as_bytes(), properties);
            confirms.push(sent.await.expect("the broker listens"));
        }
        for confirm in confirms {
            assert!(confirm.await.expect("it is confirmed").is_ack());
        }
    }

    /// Purges a queue.
    pub async fn drain(&self, queue: &str) -> Vec<Message> {
        let (connection, _channel) = self.channel().await;
        let held = FetchedMessages::take(&connection, queue, usize::MAX).await;
        let held = held.expect("the queue can be read");
        for (tag, _) in &held.messages {
            held.acknowledge(*tag).await.expect("the broker listens");
        }
        let messages = held.messages.iter().map(|(_, message)| message.clone()).collect();
        held.give_back().await.expect("none is left to give back");
        messages
    }

    /// Deletes a queue; returns the number of its messages.
    pub async fn delete_queue(&self, queue: &str) -> u32 {
        let (_connection, channel) = self.channel().await;
        channel.queue_delete(queue.into(), Default::default()).await.expect("it was there")
    }

    pub async fn publish(&self, publication: &Publication) {
        self.publish_bytes(&publication.exchange, &publication.routing_key, &publication.message)
            .await;
    }

    /// Publishes a message directly into a queue.
    pub async fn put(&self, queue: &str, message: &Message) {
        self.publish_bytes("", queue, message).await;
    }

    #[expect(clippy::disallowed_methods, reason = "a test may say what no service would")]
    async fn publish_bytes(&self, exchange: &str, key: &str, message: &Message) {
        let (_connection, channel) = self.channel().await;
        channel.confirm_select(Default::default()).await.expect("confirms are to be had");
        let options = BasicPublishOptions { mandatory: true, immediate: false };
        let confirm = channel
            .basic_publish(
                exchange.into(),
                key.into(),
                options,
                &message.body,
                wire::properties(message),
            )
            .await
            .expect("it can be published");
        let confirmed = confirm.await.expect("it is confirmed");
        assert!(confirmed.is_ack() && confirmed.take_message().is_none(), "{exchange} {key}");
    }

    /// A queue of the test's own that receives every event of every service.
    pub async fn tap(&self) {
        let (_connection, channel) = self.channel().await;
        let options = QueueDeclareOptions { durable: true, ..Default::default() };
        channel.queue_declare(TAP.into(), options, FieldTable::default()).await.expect("a queue");
        for service in events::SERVICES {
            self.bind(TAP, &messaging::exchange_of(service), "#").await;
        }
    }

    /// The events that the tap has received; each is returned once.
    pub async fn untap(&self) -> Vec<Message> {
        let heard = self.drain(TAP).await;
        assert_eq!(self.delete_queue(TAP).await, 0);
        heard
    }

    pub async fn unbind(&self, queue: &str, exchange: &str, key: &str) {
        let (_connection, channel) = self.channel().await;
        let unbound =
            channel.queue_unbind(queue.into(), exchange.into(), key.into(), FieldTable::default());
        unbound.await.expect("it was bound");
    }

    pub async fn bind(&self, queue: &str, exchange: &str, key: &str) {
        let (_connection, channel) = self.channel().await;
        let options = QueueBindOptions::default();
        channel
            .queue_bind(queue.into(), exchange.into(), key.into(), options, FieldTable::default())
            .await
            .expect("it can be bound");
    }
}
