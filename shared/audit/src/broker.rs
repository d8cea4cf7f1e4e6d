//! Reads the broker's state: queue depths by the management API, dead letters by AMQP.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use dead_letters::{FetchedMessages, in_time, order_of};
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::{Connection, ErrorKind};
use messaging::{Message, header, is_parking};
use serde::Deserialize;
use serde_json::Value;

use crate::{DeadLetter, Endpoints, Management, answer};

/// More dead letters than a person will ever sort out one by one.
const DEAD_LETTERS_MAX: usize = 50_000;
/// Each read of a message is a delivery, and RabbitMQ drops a message after too many.
const LOOKS_MIN: u64 = 1000;
/// Shorter than the client's own limit, which does not tell silence from absence.
const ANSWER_WITHIN: Duration = Duration::from_secs(8);

pub struct Broker {
    management: Management,
    connection: Connection,
}

#[derive(Deserialize)]
struct Queue {
    name: String,
    /// Missing until the broker has counted for the first time.
    messages_ready: Option<u64>,
    messages_unacknowledged: Option<u64>,
    message_bytes: Option<u64>,
    effective_policy_definition: Option<Value>,
    #[serde(default)]
    arguments: Value,
}

impl Queue {
    fn is_aside(&self) -> bool {
        is_parking(&self.name) || self.is_tier()
    }

    fn is_tier(&self) -> bool {
        self.name.contains(".retry.")
    }

    /// The limit that it has reached, if any, of its policies or its own arguments.
    fn reached(&self) -> Option<String> {
        let limit = |name: &str| {
            let policies = self.effective_policy_definition.as_ref();
            let policies = policies.and_then(|all| all[name].as_u64());
            let own = self.arguments[format!("x-{name}")].as_u64();
            policies.into_iter().chain(own).min()
        };
        let limits =
            [("max-length", self.messages_ready), ("max-length-bytes", self.message_bytes)];
        limits.into_iter().find_map(|(name, has)| {
            let max = limit(name).filter(|max| has.is_some_and(|has| has >= *max))?;
            Some(format!("{} has reached its {name} of {max}", self.name))
        })
    }
}

/// A queue at this moment.
#[derive(Clone, Copy, Debug)]
pub struct QueueState {
    pub ready: u32,
    pub consumers: u32,
}

/// The refusal 404 of AMQP.
fn is_missing(why: &anyhow::Error) -> bool {
    let kind = why.downcast_ref::<lapin::Error>().map(lapin::Error::kind);
    matches!(kind, Some(ErrorKind::ProtocolError(refusal)) if refusal.get_id() == 404)
}

impl Broker {
    pub async fn connect(endpoints: &Endpoints) -> Result<Self> {
        let management = Management::at(endpoints)?;
        let connected = answer("RabbitMQ", ANSWER_WITHIN, async {
            dead_letters::connect(&endpoints.amqp_url).await.context(
                "RabbitMQ is not reachable: run `make up`, or set RABBITMQ_PORT, RABBITMQ_USER and \
                 RABBITMQ_PASSWORD",
            )
        });
        let connection = connected.await?;
        Ok(Self { management, connection })
    }

    /// Messages in each main queue and retry tier, delivered ones included.
    pub async fn depths(&self) -> Result<BTreeMap<String, u64>> {
        let mut depths = BTreeMap::new();
        for queue in self.queues().await?.into_iter().filter(|queue| !is_parking(&queue.name)) {
            // The management API counts every few seconds; ready messages are known at once.
            let ready = self.ready_now(&queue.name).await?;
            let counted = queue.messages_ready.unwrap_or(0);
            let waiting = ready.max(counted) + queue.messages_unacknowledged.unwrap_or(0);
            depths.insert(queue.name, waiting);
        }
        Ok(depths)
    }

    async fn queues(&self) -> Result<Vec<Queue>> {
        let path = format!("queues/{}", self.management.vhost());
        let columns = "name,messages_ready,messages_unacknowledged,message_bytes,arguments,\
                       effective_policy_definition";
        self.management.get(&path, Some(columns)).await
    }

    async fn ready_now(&self, queue: &str) -> Result<u64> {
        Ok(self.state(queue).await?.map_or(0, |state| state.ready.into()))
    }

    /// None where there is no such queue.
    pub async fn state(&self, queue: &str) -> Result<Option<QueueState>> {
        let options = QueueDeclareOptions { passive: true, ..Default::default() };
        let declared = in_time(async {
            let channel = self.connection.create_channel().await?;
            let declared =
                channel.queue_declare(queue.into(), options, FieldTable::default()).await?;
            channel.close(200, "done".into()).await?;
            Ok(declared)
        });
        match declared.await {
            Ok(there) => {
                let (ready, consumers) = (there.message_count(), there.consumer_count());
                Ok(Some(QueueState { ready, consumers }))
            }
            Err(why) if is_missing(&why) => Ok(None),
            Err(why) => Err(why.context(format!("cannot look at {queue}"))),
        }
    }

    /// The retry tiers of all services.
    pub async fn tiers(&self) -> Result<Vec<String>> {
        let tiers = self.queues().await?.into_iter().filter(Queue::is_tier);
        Ok(tiers.map(|queue| queue.name).collect())
    }

    /// The dead-letter and retry queues that are full, and so refuse messages: each with the limit
    /// that it has reached.
    pub async fn full(&self) -> Result<Vec<String>> {
        let aside = self.queues().await?.into_iter().filter(Queue::is_aside);
        Ok(aside.filter_map(|queue| queue.reached()).collect())
    }

    /// The dead letter queues, by name. Fails where RabbitMQ would drop messages that are read too
    /// often.
    pub async fn parkings(&self) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for queue in self.queues().await?.into_iter().filter(|queue| is_parking(&queue.name)) {
            // Not known of a queue that is seconds old.
            let limit =
                queue.effective_policy_definition.map(|policy| policy["delivery-limit"].as_u64());
            if limit.is_some_and(|limit| limit.is_none_or(|limit| limit < LOOKS_MIN)) {
                bail!(
                    "{} has no policy that keeps what is looked at: give RabbitMQ the policy \
                     keep-dead-letters, which `saga topology` prints",
                    queue.name
                );
            }
            found.push(queue.name);
        }
        found.sort_unstable();
        Ok(found)
    }

    /// The number of dead letters that clients hold, by queue, as RabbitMQ counted last.
    pub async fn held(&self) -> Result<BTreeMap<String, u64>> {
        let queues = self.queues().await?.into_iter().filter(|queue| is_parking(&queue.name));
        let held = queues.map(|queue| (queue.name, queue.messages_unacknowledged.unwrap_or(0)));
        Ok(held.filter(|(_, count)| *count > 0).collect())
    }

    pub const fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Fetches the first so many messages, without acknowledging any.
    pub async fn hold(&self, queue: &str, max: usize) -> Result<FetchedMessages> {
        FetchedMessages::take(&self.connection, queue, max).await
    }

    /// The number of dead letters in a queue. A quorum queue without a leader is declared empty; a
    /// message that is fetched proves that it is not.
    pub async fn count(&self, queue: &str) -> Result<usize> {
        let held = self.hold(queue, 1).await?;
        let letters = held.messages.len() + held.left;
        held.give_back().await?;
        Ok(letters)
    }

    /// All dead letters; each goes back where it was.
    pub async fn dead_letters(&self) -> Result<Vec<DeadLetter>> {
        let queues = self.queues().await?.into_iter().map(|queue| queue.name);
        let mut found = Vec::new();
        for queue in queues.filter(|queue| is_parking(queue)) {
            let held = self.hold(&queue, DEAD_LETTERS_MAX + 1).await?;
            found.extend(held.messages.iter().map(|(_, message)| dead_letter(&queue, message)));
            held.give_back().await?;
            if found.len() > DEAD_LETTERS_MAX {
                bail!("there are more than {DEAD_LETTERS_MAX} dead letters: replay or purge some");
            }
        }
        Ok(found)
    }
}

fn dead_letter(queue: &str, message: &Message) -> DeadLetter {
    DeadLetter {
        queue: queue.into(),
        message_id: message.id.clone(),
        order_id: order_of(message),
        event: message.kind.clone(),
        reason: message.text(header::REASON),
        digest: message.digest().try_into().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use uuid::Uuid;

    #[test]
    fn a_queue_is_full_by_the_lower_limit_of_its_policies_and_its_arguments() {
        let reached = |policies: Value, arguments: Value| {
            let queue = json!({
                "name": "q", "messages_ready": 7, "message_bytes": 2000,
                "effective_policy_definition": policies, "arguments": arguments,
            });
            serde_json::from_value::<Queue>(queue).unwrap().reached()
        };
        let of = |what: &str| Some(format!("q has reached its {what}"));
        assert_eq!(reached(json!({}), json!({})), None);
        assert_eq!(reached(json!({ "max-length": 8 }), json!({ "x-max-length": 9 })), None);
        assert_eq!(reached(json!({ "max-length": 7 }), Value::Null), of("max-length of 7"));
        let bytes = json!({ "max-length-bytes": 2000 });
        assert_eq!(reached(bytes, json!([])), of("max-length-bytes of 2000"));
        let arguments = json!({ "x-max-length": 9, "x-max-length-bytes": 1000 });
        assert_eq!(
            reached(json!({ "max-length-bytes": 9000 }), arguments),
            of("max-length-bytes of 1000")
        );
        assert_eq!(reached(Value::Null, json!({ "x-max-length": 6 })), of("max-length of 6"));
    }

    #[test]
    fn a_dead_letter_without_its_properties_is_known_by_its_body() {
        let body = format!(r#"{{"order_id":"{}"}}"#, Uuid::from_u128(7)).into_bytes();
        let message = Message { body, ..Message::default() };
        let letter = dead_letter("order.payment-failed.dlq", &message);
        assert_eq!(letter.order_id, Some(Uuid::from_u128(7)));
        let garbage = Message { body: b"garbage".to_vec(), ..Message::default() };
        assert_eq!(dead_letter("x", &garbage).order_id, None);
    }
}
