//! Records all events, delivers real messages once more, later and in another order, and puts
//! malformed messages into queues.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use audit::Endpoints;
use chrono::{DateTime, Utc};
use events::{SAGA, SERVICES};
use futures::StreamExt;
use lapin::options::{BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{FieldTable, ShortString};
use messaging::{
    Broker as _, Confirm, Env, Message, Publication, RabbitMq, SystemEnv, Topology, exchange_of,
    queue_name, wire,
};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::poison::Poison;

const QUEUE: &str = "chaos.tap";
/// The number of newest messages to choose from.
const KEPT: usize = 2000;
const LOOK_EVERY: Duration = Duration::from_millis(25);
const TRY_EVERY: Duration = Duration::from_millis(200);

pub struct Tap {
    amqp_url: String,
    heard: Arc<Mutex<VecDeque<Message>>>,
    poison: Mutex<Poison>,
    listening: Mutex<JoinSet<()>>,
}

impl Tap {
    pub fn start(endpoints: &Endpoints) -> Self {
        let amqp_url = endpoints.amqp_url.clone();
        let heard = Arc::new(Mutex::default());
        let mut listening = JoinSet::new();
        listening.spawn(listen(amqp_url.clone(), Arc::clone(&heard)));
        Self { amqp_url, heard, poison: Mutex::default(), listening: Mutex::new(listening) }
    }

    /// Its queue is deleted with it.
    pub async fn stop(&self) -> Result<()> {
        lock(&self.listening).abort_all();
        let connection = RabbitMq::connection(&self.amqp_url, "chaos: tap").await?;
        let channel = connection.create_channel().await?;
        channel.queue_delete(QUEUE.into(), Default::default()).await?;
        connection.close(200, "done".into()).await?;
        Ok(())
    }

    /// Delivers so many of the newest messages once more, each to all subscribers.
    pub async fn duplicate(&self, number: usize) -> Result<usize> {
        let newest: Vec<_> = lock(&self.heard).iter().rev().take(number).rev().cloned().collect();
        self.deliver(&newest).await
    }

    /// Delivers so many messages from all of the last minutes once more, in any order.
    pub async fn shuffle(&self, number: usize, seed: u64) -> Result<usize> {
        let mut chance = StdRng::seed_from_u64(seed);
        let mut heard: Vec<_> = lock(&self.heard).iter().cloned().collect();
        heard.shuffle(&mut chance);
        heard.truncate(number);
        self.deliver(&heard).await
    }

    /// Returns when one of these services has published an event after that moment. An event's id
    /// contains the time of its decision.
    pub async fn said(&self, services: &[&str], since: DateTime<Utc>) {
        let is_by = |message: &Message| {
            let by = message.app_id.as_deref().unwrap_or_default();
            services.contains(&by) && written_at(message).is_some_and(|at| at > since)
        };
        while !lock(&self.heard).iter().rev().any(is_by) {
            sleep(LOOK_EVERY).await;
        }
    }

    async fn deliver(&self, messages: &[Message]) -> Result<usize> {
        ensure!(!messages.is_empty(), "nothing has been said yet that could be said again");
        let to_hearers = messages.iter().flat_map(|message| {
            let kind = message.kind.as_deref().unwrap_or_default();
            let hearers = SAGA.iter().filter(move |step| step.hears == kind);
            hearers.map(|step| (queue_name(step.service, step.hears), message.clone()))
        });
        self.put(to_hearers).await
    }

    /// Puts malformed messages into queues.
    pub async fn poison(&self, number: usize, seed: u64) -> Result<usize> {
        let mut chance = StdRng::seed_from_u64(seed);
        let nonsense = (0..number).map(|_| {
            let step = SAGA.choose(&mut chance).expect("there are steps");
            (queue_name(step.service, step.hears), nonsense(step.hears, &mut chance))
        });
        let nonsense: Vec<_> = nonsense.collect();
        for (queue, message) in &nonsense {
            self.poisons(queue, &message.body, message.id.as_deref().unwrap_or_default());
        }
        self.put(nonsense).await
    }

    /// The newest of these events, the newest first.
    pub fn newest_of(&self, event: &str) -> Vec<Message> {
        let is_it = |message: &&Message| message.kind.as_deref() == Some(event);
        lock(&self.heard).iter().rev().filter(is_it).cloned().collect()
    }

    /// Records a message that was put into a queue, and must become a dead letter.
    pub fn poisons(&self, queue: &str, body: &[u8], what: impl Into<String>) {
        lock(&self.poison).add(queue, body, what);
    }

    /// All recorded messages.
    pub fn poisoned(&self) -> Poison {
        lock(&self.poison).clone()
    }

    /// Publishes directly into queues, by the default exchange.
    async fn put(&self, messages: impl IntoIterator<Item = (String, Message)>) -> Result<usize> {
        let publications = messages.into_iter().map(|(routing_key, message)| Publication {
            exchange: String::new(),
            routing_key,
            message,
        });
        let publications: Vec<_> = publications.collect();
        let rabbit = RabbitMq::new(&self.amqp_url, 1).map_err(|why| anyhow!(why))?;
        let topology = Topology { service: "chaos".into(), ..Topology::default() };
        let session = rabbit.connect(&topology).await?;
        let confirms = session.publisher().await?.publish(&publications).await?;
        session.close().await;
        let stored = confirms.iter().filter(|confirm| **confirm == Confirm::Stored).count();
        ensure!(stored == confirms.len(), "{stored} of {} messages were taken", confirms.len());
        Ok(stored)
    }
}

fn written_at(message: &Message) -> Option<DateTime<Utc>> {
    events::said_at(message.id.as_ref()?.parse().ok()?)
}

/// Each is malformed in another way; none names an order, which the verification would allow for.
fn nonsense(event: &str, chance: &mut StdRng) -> Message {
    let known = SystemEnv.new_id().to_string();
    let (id, kind, body) = match chance.random_range(0..5) {
        0 => (known, event, "{".to_owned()),
        1 => (known, event, json!({ "nonsense": true }).to_string()),
        2 => (format!("no id at all {known}"), event, "{}".to_owned()),
        3 => (known, "order.eaten", json!({ "by": "a grue" }).to_string()),
        _ => (known, event, "\u{0}".repeat(2000)),
    };
    Message { id: Some(id), kind: Some(kind.into()), body: body.into(), ..Message::default() }
}

/// Reconnects whenever the broker has been down.
async fn listen(url: String, heard: Arc<Mutex<VecDeque<Message>>>) {
    loop {
        // The broker is down again and again: that is part of the test.
        hear(&url, &heard).await.ok();
        sleep(TRY_EVERY).await;
    }
}

async fn hear(url: &str, heard: &Mutex<VecDeque<Message>>) -> Result<()> {
    let connection = RabbitMq::connection(url, "chaos: tap").await?;
    let channel = connection.create_channel().await?;
    let table = FieldTable::default;
    channel.queue_declare(QUEUE.into(), QueueDeclareOptions::default(), table()).await?;
    for service in SERVICES {
        let exchange = exchange_of(service).into();
        let options = QueueBindOptions::default();
        channel.queue_bind(QUEUE.into(), exchange, "#".into(), options, table()).await?;
    }
    let options = BasicConsumeOptions { no_ack: true, ..Default::default() };
    let tag = ShortString::default();
    let mut deliveries = channel.basic_consume(QUEUE.into(), tag, options, table()).await?;
    while let Some(delivery) = deliveries.next().await {
        let delivery = delivery?;
        let mut heard = lock(heard);
        heard.push_back(wire::message(&delivery.properties, delivery.data));
        while heard.len() > KEPT {
            heard.pop_front();
        }
    }
    Ok(())
}

fn lock<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}
