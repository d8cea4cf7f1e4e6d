//! Holds fetched messages as a lease: each is acknowledged or not. Until the lease ends, no other
//! consumer gets them; however it ends, unacknowledged messages are in their queue as before. (The
//! futures are boxed, or lapin would be compiled again in every crate that awaits them.)

use anyhow::{Context, Result};
use futures::{FutureExt, StreamExt, future::BoxFuture};
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicGetOptions, BasicNackOptions,
    BasicQosOptions, BasicRejectOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{Channel, Connection};
use messaging::{Message, RabbitMq, wire};

use std::{future::Future, time::Duration};
use tokio::time::timeout;

const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// A queue that has more messages hands out the next one sooner.
const PAUSE: Duration = Duration::from_millis(100);
/// A quorum queue lets a consumer hold no more.
const AT_ONCE: u16 = 2000;

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
        let mut messages = Vec::new();
        let mut there = ready(&channel, queue).await.with_context(failed)?;
        // A quorum queue without a leader is declared empty too: its answer tells.
        while there == messages.len() && there < max {
            let got = get(&channel, queue).await.with_context(failed)?;
            let Some(got) = got else { break };
            messages.push(got);
            there = messages.len() + ready(&channel, queue).await.with_context(failed)?;
        }
        let wanted = there.min(max);
        while messages.len() < wanted {
            let before = messages.len();
            consume(&channel, queue, wanted, &mut messages).await.with_context(failed)?;
            if messages.len() > before {
                continue;
            }
            // Slow, or nothing is left: its answer tells which.
            let Some(got) = get(&channel, queue).await.with_context(failed)? else { break };
            messages.push(got);
        }
        let left = there - messages.len();
        Ok(Self { channel, queue: queue.into(), messages, left })
    }

    /// It is gone from its queue once the lease ends.
    pub fn acknowledge(&self, tag: u64) -> BoxFuture<'_, Result<()>> {
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

/// The number of messages that a declaration tells.
async fn ready(channel: &Channel, queue: &str) -> Result<usize> {
    let passive = QueueDeclareOptions { passive: true, ..Default::default() };
    let declared = channel.queue_declare(queue.into(), passive, FieldTable::default());
    Ok(in_time(declared).await?.message_count() as usize)
}

/// The first message. Most members of a quorum queue agree to the answer.
async fn get(channel: &Channel, queue: &str) -> Result<Option<(u64, Message)>> {
    let got = in_time(channel.basic_get(queue.into(), BasicGetOptions { no_ack: false })).await?;
    Ok(got.map(|got| numbered(got.delivery)))
}

/// Adds what comes at once, until there are as many as wanted: of a quorum queue, each message that
/// is fetched alone costs a write to its log.
async fn consume(
    channel: &Channel,
    queue: &str,
    wanted: usize,
    messages: &mut Vec<(u64, Message)>,
) -> Result<()> {
    let more = u16::try_from(wanted - messages.len()).unwrap_or(AT_ONCE).min(AT_ONCE);
    in_time(channel.basic_qos(more, BasicQosOptions::default())).await?;
    let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
    let consuming = channel.basic_consume(queue.into(), "".into(), options, arguments);
    let mut consumer = in_time(consuming).await?;
    let full = messages.len() + usize::from(more);
    while messages.len() < full {
        let Ok(Some(delivery)) = timeout(PAUSE, consumer.next()).await else { break };
        messages.push(numbered(delivery?));
    }
    in_time(channel.basic_cancel(consumer.tag(), BasicCancelOptions::default())).await?;
    // It ends with what was on its way.
    while let Some(delivery) = consumer.next().await {
        messages.push(numbered(delivery?));
    }
    Ok(())
}

fn numbered(delivery: Delivery) -> (u64, Message) {
    (delivery.delivery_tag, wire::message(&delivery.properties, delivery.data))
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
