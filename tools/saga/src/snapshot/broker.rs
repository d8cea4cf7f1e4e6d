//! What waits in the broker: how much by the management page, and which dead letters by AMQP.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use invariants::DeadLetter;
use lapin::options::{BasicGetOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use messaging::{Message, header, wire};
use reqwest::Client;
use serde::Deserialize;
use tokio::time::timeout;

use super::Places;

const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Where dead letters end whose own queue is missing.
const UNROUTED: &str = "unrouted";
/// More dead letters than a person will ever sort out one by one.
const DEAD_LETTERS_MAX: usize = 50_000;

pub struct Broker {
    places: Places,
    http: Client,
    connection: Connection,
}

#[derive(Deserialize)]
struct Queue {
    name: String,
    /// Missing until the broker has counted for the first time.
    messages_ready: Option<u64>,
    messages_unacknowledged: Option<u64>,
}

/// Where dead letters lie; everything else is on its way.
pub fn is_parking(queue: &str) -> bool {
    queue.ends_with(".dlq") || queue == UNROUTED
}

impl Broker {
    pub async fn connect(places: &Places) -> Result<Self> {
        let http = Client::builder().no_proxy().timeout(ANSWER_WITHIN).build()?;
        let connection = Connection::connect(&places.amqp_url, ConnectionProperties::default());
        let connection = in_time(connection).await.context(
            "RabbitMQ is not reachable: run `make up`, or set RABBITMQ_PORT, RABBITMQ_USER and \
             RABBITMQ_PASSWORD",
        )?;
        Ok(Self { places: places.clone(), http, connection })
    }

    /// Messages in each main queue and retry rung, delivered ones included.
    pub async fn depths(&self) -> Result<BTreeMap<String, u64>> {
        let mut depths = BTreeMap::new();
        for queue in self.queues().await?.into_iter().filter(|queue| !is_parking(&queue.name)) {
            // The management page counts every few seconds; what lies ready is known at once.
            let ready = self.ready_now(&queue.name).await?;
            let counted = queue.messages_ready.unwrap_or(0);
            let waiting = ready.max(counted) + queue.messages_unacknowledged.unwrap_or(0);
            depths.insert(queue.name, waiting);
        }
        Ok(depths)
    }

    async fn queues(&self) -> Result<Vec<Queue>> {
        let vhost = self.places.vhost.replace('/', "%2F");
        let url = format!("{}/api/queues/{vhost}", self.places.management_url);
        let columns = [("columns", "name,messages_ready,messages_unacknowledged")];
        let (user, password) = (&self.places.management_user, &self.places.management_password);
        let request = self.http.get(url).query(&columns).basic_auth(user, Some(password));
        let answer = request.send().await.context(
            "RabbitMQ's management page is not reachable: run `make up`, or set \
             RABBITMQ_MANAGEMENT_PORT",
        )?;
        let answer = answer.error_for_status().context("RabbitMQ's management page refuses")?;
        answer.json().await.context("RabbitMQ's management page tells no queues")
    }

    async fn ready_now(&self, queue: &str) -> Result<u64> {
        let options = QueueDeclareOptions { passive: true, ..Default::default() };
        let declared = in_time(async {
            let channel = self.connection.create_channel().await?;
            let declared =
                channel.queue_declare(queue.into(), options, FieldTable::default()).await?;
            channel.close(200, "done".into()).await?;
            Ok(declared)
        });
        Ok(declared
            .await
            .with_context(|| format!("cannot look at {queue}"))?
            .message_count()
            .into())
    }

    /// Everything that is parked. It is fetched and never acknowledged, so it goes back as the
    /// channel closes.
    pub async fn dead_letters(&self) -> Result<Vec<DeadLetter>> {
        let queues = self.queues().await?.into_iter().map(|queue| queue.name);
        let mut found = Vec::new();
        for queue in queues.filter(|queue| is_parking(queue)) {
            let channel = in_time(self.connection.create_channel()).await?;
            let options = BasicGetOptions { no_ack: false };
            while let Some(got) = in_time(channel.basic_get(queue.as_str().into(), options))
                .await
                .with_context(|| format!("cannot look into {queue}"))?
            {
                if found.len() == DEAD_LETTERS_MAX {
                    bail!(
                        "there are more than {DEAD_LETTERS_MAX} dead letters: replay or purge some"
                    );
                }
                let delivery = got.delivery;
                found
                    .push(dead_letter(&queue, &wire::message(&delivery.properties, delivery.data)));
            }
            in_time(channel.close(200, "done".into())).await?;
        }
        Ok(found)
    }
}

fn dead_letter(queue: &str, message: &Message) -> DeadLetter {
    let in_body = || {
        let body: serde_json::Value = serde_json::from_slice(&message.body).ok()?;
        body["order_id"].as_str()?.parse().ok()
    };
    let correlated = message.correlation_id.as_ref().and_then(|id| id.parse().ok());
    DeadLetter {
        queue: queue.into(),
        message_id: message.id.clone(),
        order_id: correlated.or_else(in_body),
        event: message.kind.clone(),
        reason: message.text(header::REASON),
    }
}

async fn in_time<T>(work: impl Future<Output = lapin::Result<T>>) -> Result<T> {
    let done = timeout(ANSWER_WITHIN, work).await;
    Ok(done.with_context(|| format!("no answer within {} s", ANSWER_WITHIN.as_secs()))??)
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn a_dead_letter_without_its_properties_is_known_by_its_body() {
        let body = format!(r#"{{"order_id":"{}"}}"#, Uuid::from_u128(7)).into_bytes();
        let message = Message { body, ..Message::default() };
        let letter = dead_letter("order.payment-failed.dlq", &message);
        assert_eq!(letter.order_id, Some(Uuid::from_u128(7)));
        let garbage = Message { body: b"garbage".to_vec(), ..Message::default() };
        assert_eq!(dead_letter("x", &garbage).order_id, None);
    }

    #[test]
    fn what_is_parked_is_told_from_what_is_on_its_way() {
        assert!(is_parking("order.payment-failed.dlq") && is_parking("unrouted"));
        assert!(!is_parking("order.payment-failed") && !is_parking("order.retry.5s"));
    }
}
