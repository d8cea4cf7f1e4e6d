//! Holds fetched messages as a lease: each is acknowledged or not. Until the lease ends, no other
//! consumer gets them; however it ends, unacknowledged messages are in their queue as before. (The
//! futures are boxed, or lapin would be compiled again in every crate that awaits them.)

use anyhow::{Context, Result};
use futures::{FutureExt, future::BoxFuture};
use lapin::options::{
    BasicAckOptions, BasicGetOptions, BasicNackOptions, BasicRejectOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{Channel, Connection};
use messaging::{Message, RabbitMq, wire};

use std::{future::Future, time::Duration};
use tokio::time::timeout;

const ANSWER_WITHIN: Duration = Duration::from_secs(10);

pub struct FetchedMessages {
    channel: Channel,
    pub queue: String,
    /// With the number by which each is acknowledged.
    pub messages: Vec<(u64, Message)>,
    /// The number of messages left in the queue.
    pub left: usize,
}

impl FetchedMessages {
    /// At most the number at the start: messages that return meanwhile are not fetched again.
    pub fn take<'a>(
        connection: &'a Connection,
        queue: &'a str,
        max: usize,
    ) -> BoxFuture<'a, Result<Self>> {
        Self::fetch(connection, queue, max).boxed()
    }

    async fn fetch(connection: &Connection, queue: &str, max: usize) -> Result<Self> {
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

    /// It is gone from its queue once the lease ends.
    pub(crate) fn acknowledge(&self, tag: u64) -> BoxFuture<'_, Result<()>> {
        let acknowledged = in_time(self.channel.basic_ack(tag, BasicAckOptions::default()));
        let failed = || format!("cannot fetch a message from {}", self.queue);
        async move { acknowledged.await.with_context(failed) }.boxed()
    }

    /// It becomes a dead letter.
    pub fn reject(&self, tag: u64) -> BoxFuture<'_, Result<()>> {
        let rejected =
            in_time(self.channel.basic_reject(tag, BasicRejectOptions { requeue: false }));
        let failed = || format!("cannot reject a message of {}", self.queue);
        async move { rejected.await.with_context(failed) }.boxed()
    }

    /// Returns once RabbitMQ has all messages back, and has processed every acknowledgement.
    pub fn give_back(self) -> BoxFuture<'static, Result<()>> {
        const ALL: u64 = 0;
        let options = BasicNackOptions { multiple: true, requeue: true };
        // A channel that only closes returns its messages a moment later, and the next fetch may
        // miss them.
        async move {
            let given = in_time(async {
                self.channel.basic_nack(ALL, options).await?;
                self.channel.close(200, "done".into()).await
            });
            given
                .await
                .with_context(|| format!("cannot requeue the messages fetched from {}", self.queue))
        }
        .boxed()
    }
}

/// Bounds a wait for the broker.
pub async fn in_time<T>(work: impl Future<Output = lapin::Result<T>>) -> Result<T> {
    let done = timeout(ANSWER_WITHIN, work).await;
    Ok(done.with_context(|| format!("no answer within {} s", ANSWER_WITHIN.as_secs()))??)
}

/// Connects as the user of this URL.
pub fn connect(amqp_url: &str) -> BoxFuture<'_, Result<Connection>> {
    async move { Ok(RabbitMq::connection(amqp_url, "operator").await?) }.boxed()
}
