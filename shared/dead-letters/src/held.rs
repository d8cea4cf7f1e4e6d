//! Messages in hand: fetched, and acknowledged one by one or not at all. Until it ends nobody else
//! is given them; then, however it ends, what was not acknowledged is in its queue as before.

use anyhow::{Context, Result};
use lapin::options::{BasicAckOptions, BasicGetOptions, BasicNackOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection};
use messaging::{Message, RabbitMq, wire};

use std::{future::Future, time::Duration};
use tokio::time::timeout;

const ANSWER_WITHIN: Duration = Duration::from_secs(10);

pub struct Held {
    channel: Channel,
    pub queue: String,
    /// With the number by which each is acknowledged.
    pub messages: Vec<(u64, Message)>,
    /// How many more there were.
    pub left: usize,
}

impl Held {
    /// No more than lay there at the start: what comes back while we work is not taken again.
    pub async fn take(connection: &Connection, queue: &str, max: usize) -> Result<Self> {
        let failed = || format!("cannot look into {queue}");
        let channel = in_time(connection.create_channel()).await.with_context(failed)?;
        let passive = QueueDeclareOptions { passive: true, ..Default::default() };
        let declared = channel.queue_declare(queue.into(), passive, FieldTable::default());
        let there = in_time(declared).await.with_context(failed)?.message_count() as usize;
        let mut messages = Vec::new();
        while messages.len() < there.min(max) {
            let options = BasicGetOptions { no_ack: false };
            let got =
                in_time(channel.basic_get(queue.into(), options)).await.with_context(failed)?;
            let Some(got) = got.map(|got| got.delivery) else { break };
            messages.push((got.delivery_tag, wire::message(&got.properties, got.data)));
        }
        let left = there - messages.len();
        Ok(Self { channel, queue: queue.into(), messages, left })
    }

    /// It is gone from its queue, once this is given back.
    pub async fn acknowledge(&self, tag: u64) -> Result<()> {
        in_time(self.channel.basic_ack(tag, BasicAckOptions::default()))
            .await
            .with_context(|| format!("cannot take a message out of {}", self.queue))
    }

    /// Returns when RabbitMQ has it all back, and has heard every acknowledgement.
    pub async fn give_back(self) -> Result<()> {
        const ALL: u64 = 0;
        let options = BasicNackOptions { multiple: true, requeue: true };
        // A channel that only closes gives back a moment later, when the next look may have missed
        // it.
        let given = in_time(async {
            self.channel.basic_nack(ALL, options).await?;
            self.channel.close(200, "done".into()).await
        });
        given.await.with_context(|| format!("cannot give back what was taken from {}", self.queue))
    }
}

/// No wait for the broker is without an end.
pub async fn in_time<T>(work: impl Future<Output = lapin::Result<T>>) -> Result<T> {
    let done = timeout(ANSWER_WITHIN, work).await;
    Ok(done.with_context(|| format!("no answer within {} s", ANSWER_WITHIN.as_secs()))??)
}

/// As the user that this address names.
pub async fn connect(amqp_url: &str) -> Result<Connection> {
    Ok(RabbitMq::connection(amqp_url, "operator").await?)
}
