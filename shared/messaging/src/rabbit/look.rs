//! Inspects queues by passive declarations. RabbitMQ 4.3 requires some right, any, on each queue. A
//! quorum queue without a leader counts 0 for that moment, so nothing is decided by these numbers.

use super::errors::{explain, in_time};
use crate::{BrokerError, Depth, QueueInspector};
use async_trait::async_trait;
use futures::future::join_all;
use lapin::{Channel, Connection, Queue, options::QueueDeclareOptions, types::FieldTable};
use std::collections::HashSet;

pub struct RabbitQueueInspector {
    connection: Connection,
    channel: Option<Channel>,
    /// Asking for one of these closes the channel, so it is done once.
    missing: HashSet<String>,
}

impl RabbitQueueInspector {
    pub fn new(connection: Connection) -> Self {
        Self { connection, channel: None, missing: HashSet::new() }
    }

    async fn channel(&mut self) -> Result<Channel, BrokerError> {
        if let Some(channel) = self.channel.take().filter(|channel| channel.status().connected()) {
            return Ok(channel);
        }
        in_time(self.connection.create_channel()).await
    }
}

#[async_trait]
impl QueueInspector for RabbitQueueInspector {
    /// All at once; if one is missing, all again without it.
    async fn depths(&mut self, queues: &[String]) -> Result<Vec<Option<Depth>>, BrokerError> {
        loop {
            let channel = self.channel().await?;
            let there = queues.iter().filter(|queue| !self.missing.contains(*queue));
            let asked = there.map(async |queue| (queue, declare(&channel, queue).await));
            let answers = in_time(async { Ok(join_all(asked).await) }).await?;
            let mut found = Vec::with_capacity(answers.len());
            let mut failed = None;
            for (queue, answer) in answers {
                match answer {
                    Ok(it) => found
                        .push(Depth { ready: it.message_count(), consumers: it.consumer_count() }),
                    // Later requests fail with it.
                    Err(why) if failed.is_none() => failed = Some((queue, explain(&why))),
                    Err(_) => {}
                }
            }
            match failed {
                None => {
                    self.channel = Some(channel);
                    let mut found = found.into_iter();
                    let missing = &self.missing;
                    let depth = |queue| if missing.contains(queue) { None } else { found.next() };
                    return Ok(queues.iter().map(depth).collect());
                }
                Some((queue, BrokerError::Missing(_))) => {
                    self.missing.insert(queue.clone());
                }
                Some((_, why)) => return Err(why),
            }
        }
    }
}

async fn declare(channel: &Channel, queue: &str) -> lapin::Result<Queue> {
    let passive = QueueDeclareOptions { passive: true, ..Default::default() };
    channel.queue_declare(queue.into(), passive, FieldTable::default()).await
}
