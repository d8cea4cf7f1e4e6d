//! Puts hostile messages into every queue: messages that no service publishes and no client library
//! sends, from the catalogue in `servers::raw`; some by the management API, some by exchanges under
//! garbage keys; and ids that were handled before, with other bytes.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use events::{SAGA, Step as SagaStep, said_by};
use kit::settings::Settings;
use messaging::{Env, Message, SystemEnv, exchange_of, queue_name};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use serde_json::{Value, json};
use servers::raw::{Hostile, Property, RawProperties, RawPublisher, RawTable, RawValue, hostile};
use sqlx::{Connection, PgConnection};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::{ALL, Hands};
use crate::chaos::plan::Step;
use crate::chaos::watch::{Measure, Since};

const PARKED_WITHIN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// The number of newest messages of each queue.
const FORGED: usize = 2;

impl Hands<'_> {
    pub(super) async fn bytes(&mut self, step: &Step) -> Result<String> {
        let mut chance = StdRng::seed_from_u64(step.seed);
        let mut queues: Vec<_> = SAGA.iter().collect();
        queues.shuffle(&mut chance);
        let mut publisher = publisher(&self.fleet.system.servers.settings).await?;
        let before = self.tap.poisoned().number();
        self.by_hand(&mut publisher, &queues, &mut chance).await?;
        self.by_exchange(&mut publisher, &queues).await?;
        self.by_management(&queues).await?;
        self.forged(&mut publisher, &queues).await?;
        let number = self.tap.poisoned().number() - before;
        let since = Since::now();
        let parked = self.parked(&mut publisher).await?;
        self.recovered(Measure::Parked, parked);
        self.flows(since, &ALL, Measure::Flows).await?;
        Ok(format!("{number} hostile messages"))
    }

    /// Puts the whole catalogue into the queues, in turn.
    async fn by_hand(
        &self,
        publisher: &mut RawPublisher,
        queues: &[&SagaStep],
        chance: &mut StdRng,
    ) -> Result<()> {
        let new_id = || SystemEnv.new_id().to_string();
        let number = hostile("", new_id).len();
        let mut kinds: Vec<_> = (0..number).collect();
        kinds.shuffle(chance);
        for (kind, step) in kinds.into_iter().zip(queues.iter().cycle()) {
            let mut all = hostile(step.hears, new_id);
            let Hostile { name, properties, body, .. } = all.swap_remove(kind);
            let queue = queue_name(step.service, step.hears);
            let properties = properties.bytes();
            let published = publisher.publish("", queue.as_bytes(), &properties, &body);
            published.await.with_context(|| format!("{name}, into {queue}"))?;
            self.tap.poisons(&queue, &body, name);
        }
        Ok(())
    }

    /// Publishes under a key that is no text; the header CC routes the message to all subscribers
    /// of the event, and it is delivered with that key.
    async fn by_exchange(&self, publisher: &mut RawPublisher, queues: &[&SagaStep]) -> Result<()> {
        let event = queues[0].hears;
        let id = SystemEnv.new_id().to_string();
        let copies = RawValue::array(&[RawValue::text(event.as_bytes()), RawValue::text(b"\xff")]);
        let headers = RawTable::versioned().with(b"CC", &copies);
        let properties = RawProperties::of(event, &id, &id).headers(&headers);
        let body = format!(r#"{{"hostile":"by a key that is no UTF-8 {id}"}}"#);
        let exchange = exchange_of(said_by(event));
        publisher.publish(&exchange, b"\xff\xfe.#", &properties.bytes(), body.as_bytes()).await?;
        for step in SAGA.iter().filter(|step| step.hears == event) {
            let queue = queue_name(step.service, step.hears);
            self.tap.poisons(&queue, body.as_bytes(), "what came by a key that is no UTF-8");
        }
        Ok(())
    }

    /// Publishes by the management API, as any user with a login there can.
    async fn by_management(&self, queues: &[&SagaStep]) -> Result<()> {
        let endpoints = &self.fleet.system.endpoints;
        let client = https::plain().no_proxy().build()?;
        let url = format!("{}/api/exchanges/%2F/amq.default/publish", endpoints.management_url);
        for (what, properties) in by_management() {
            let step = queues[what.len() % queues.len()];
            let queue = queue_name(step.service, step.hears);
            let body = format!("{{\"hostile\":\"{what} {}\"}}", SystemEnv.new_id());
            let message = json!({
                "properties": properties, "routing_key": queue, "payload": body,
                "payload_encoding": "string",
            });
            let request = client.post(&url).json(&message);
            let (user, password) = (&endpoints.management_user, &endpoints.management_password);
            let answer = request.basic_auth(user, Some(password)).send().await?;
            let status = answer.status();
            let text = answer.text().await?;
            let told: Value = serde_json::from_str(&text).unwrap_or_default();
            if told["routed"] != true {
                bail!("the management page does not publish {what}: {status} {text}");
            }
            self.tap.poisons(&queue, body.as_bytes(), what);
        }
        Ok(())
    }

    /// Publishes ids that a service has handled, with other bytes.
    async fn forged(&self, publisher: &mut RawPublisher, queues: &[&SagaStep]) -> Result<()> {
        for step in queues.iter().take(queues.len() / 2) {
            let url = &self.fleet.system.endpoints.databases[step.service];
            let mut database = PgConnection::connect(url).await?;
            let heard = self.tap.newest_of(step.hears);
            let ids: Vec<_> = heard.iter().filter_map(event_id).collect();
            let handled: Vec<Uuid> = sqlx::query_scalar(
                "SELECT event_id FROM idempotency_keys WHERE event_id = ANY($1)",
            )
            .bind(ids)
            .fetch_all(&mut database)
            .await?;
            let handled: BTreeSet<_> = handled.into_iter().collect();
            let known = heard.iter().filter_map(|message| Some((event_id(message)?, message)));
            let known = known.filter(|(id, _)| handled.contains(id));
            let queue = queue_name(step.service, step.hears);
            for (id, message) in known.take(FORGED) {
                let order = message.correlation_id.as_deref().unwrap_or_default();
                let properties = RawProperties::of(step.hears, &id.to_string(), order);
                let properties = properties.with(Property::AppId, b"forger").bytes();
                let body = [&message.body[..], b" "].concat();
                publisher.publish("", queue.as_bytes(), &properties, &body).await?;
                self.tap.poisons(&queue, &body, format!("the forged {id}"));
            }
        }
        Ok(())
    }

    /// Waits until every poison message is a dead letter.
    async fn parked(&self, publisher: &mut RawPublisher) -> Result<Duration> {
        let started = Instant::now();
        let poison = self.tap.poisoned();
        loop {
            let mut missing = Vec::new();
            for (queue, wanted) in poison.by_queue() {
                let there = publisher.ready(queue).await? as usize;
                if there < wanted {
                    missing.push(format!("{queue} has {there} of {wanted}"));
                }
            }
            if missing.is_empty() {
                return Ok(started.elapsed());
            }
            if started.elapsed() > PARKED_WITHIN {
                bail!("no dead letters after {PARKED_WITHIN:?}: {}", missing.join(", "));
            }
            sleep(LOOK_EVERY).await;
        }
    }
}

async fn publisher(settings: &Settings) -> Result<RawPublisher> {
    let Settings { rabbitmq_port, rabbitmq_user, rabbitmq_password, .. } = settings;
    RawPublisher::connect("127.0.0.1", *rabbitmq_port, rabbitmq_user, rabbitmq_password, "/").await
}

fn event_id(message: &Message) -> Option<Uuid> {
    message.id.as_ref()?.parse().ok()
}

/// Leaves out what JSON cannot express.
fn by_management() -> Vec<(&'static str, Value)> {
    let deep = (0..200).fold(json!({}), |inner, _| json!({ "n": inner }));
    vec![
        (
            "a NUL in each property",
            json!({
                "message_id": "a\u{0}b", "type": "a\u{0}b", "correlation_id": "a\u{0}b",
            }),
        ),
        (
            "ids as long as they can be",
            json!({
                "message_id": "i".repeat(255), "correlation_id": "c".repeat(255),
            }),
        ),
        ("deep headers of the management page", json!({ "headers": { "schema-version": deep } })),
        (
            "headers that are lists",
            json!({ "headers": { "traceparent": [1, "two", [3.5, true]] } }),
        ),
    ]
}
