//! Connects to RabbitMQ. Two connections, since under an alarm RabbitMQ stops reading from a
//! connection that publishes, acknowledgements included. lapin's own recovery is off: a failed
//! session is dropped, and its owner builds a new one.

mod declare;
mod frames;
mod look;
mod properties;
mod transport;

use crate::{
    BODY_MAX, Broker, BrokerError, Confirm, CrashPoint, Deliveries, Delivery, Env, Publication,
    Publisher, QueueInspector, Session, SystemEnv, Topology, crash_at, wire,
};
use async_trait::async_trait;
use futures::{FutureExt, StreamExt, future::join_all};
use lapin::{
    Channel, Confirmation, Connection, ConnectionProperties,
    options::*,
    protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError},
    types::FieldTable,
    uri::AMQPUri,
};
use std::{collections::HashSet, future::Future, sync::atomic::AtomicBool, time::Duration};
use telemetry::metrics;

const DEADLINE: Duration = Duration::from_secs(10);
/// The next session waits for this one to close: only so long, if the broker does not answer.
const CLOSE_MAX: Duration = Duration::from_secs(2);
/// A peer without traffic for twice as long has gone: detected within 20 seconds.
const HEARTBEAT_S: u16 = 6;
/// lapin has buffers of thirty-two frames in each direction, and cycles through all of them: with
/// the usual 128 KiB they fill 16 MB. A longer message is several frames.
const FRAME_MAX: u32 = 32 * 1024;
/// A consumer's tag, which comes with every delivery: the broker's own tags are longer than the
/// rest of the frame.
const CONSUMER: &str = "loop";
/// The broker delivers to the process of the highest priority that has room. So replicas help a
/// busy process, and otherwise leave it full batches.
const RANK: &str = "x-priority";
const RANKS: u64 = 1_000_000;
/// A quorum queue's headers, which must not be published again: how often a message was returned,
/// and (since RabbitMQ 4.3) how often it was delivered.
const RETURNS: &str = "x-delivery-count";
const ACQUIRED: &str = "x-acquired-count";

pub struct RabbitMq {
    uri: AMQPUri,
    prefetch: u16,
    /// Random.
    rank: i64,
    /// Until the broker refuses it.
    may_declare: AtomicBool,
}

impl RabbitMq {
    /// `prefetch` is the number of unacknowledged messages for each queue.
    pub fn new(url: &str, prefetch: u16) -> Result<Self, String> {
        let mut uri: AMQPUri = url.parse()?;
        uri.query.heartbeat.get_or_insert(HEARTBEAT_S);
        uri.query.frame_max.get_or_insert(FRAME_MAX);
        let rank = (SystemEnv.random() % RANKS).cast_signed();
        Ok(Self { uri, prefetch, rank, may_declare: true.into() })
    }

    async fn open(&self, name: String, body_max: Option<usize>) -> Result<Connection, BrokerError> {
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        in_time(transport::connect(self.uri.clone(), properties, body_max)).await
    }

    /// A connection for an operator's tool, which reads bodies of any size.
    pub async fn connection(url: &str, name: &str) -> Result<Connection, BrokerError> {
        let rabbit = Self::new(url, 1).map_err(BrokerError::Login)?;
        rabbit.open(name.into(), None).await
    }
}

#[async_trait]
impl Broker for RabbitMq {
    async fn connect(&self, topology: &Topology) -> Result<Box<dyn Session>, BrokerError> {
        let service = &topology.service;
        let (consuming, publishing) = tokio::try_join!(
            self.open(format!("{service}: consumes"), Some(BODY_MAX)),
            self.open(format!("{service}: publishes"), Some(BODY_MAX)),
        )?;
        let Self { prefetch, rank, .. } = *self;
        let session = RabbitSession { consuming, publishing, prefetch, rank };
        declare::make_sure(&session.publishing, topology, &self.may_declare).await?;
        Ok(Box::new(session))
    }

    async fn look(&self, name: &str) -> Result<Box<dyn QueueInspector>, BrokerError> {
        let connection = self.open(name.into(), None).await?;
        Ok(Box::new(look::RabbitQueueInspector::new(connection)))
    }
}

struct RabbitSession {
    consuming: Connection,
    publishing: Connection,
    prefetch: u16,
    rank: i64,
}

#[async_trait]
impl Session for RabbitSession {
    async fn consume(&self, queue: &str) -> Result<Box<dyn Deliveries>, BrokerError> {
        let channel = in_time(self.consuming.create_channel()).await?;
        in_time(channel.basic_qos(self.prefetch, BasicQosOptions::default())).await?;
        let consumer = in_time(channel.basic_consume(
            queue.into(),
            CONSUMER.into(),
            BasicConsumeOptions::default(),
            wire::table([(RANK, self.rank.into())]),
        ))
        .await?;
        let queue = queue.into();
        Ok(Box::new(RabbitDeliveries {
            channel,
            consumer,
            queue,
            last_tag: None,
            unreadable: vec![],
        }))
    }

    async fn publisher(&self) -> Result<Box<dyn Publisher>, BrokerError> {
        let channel = in_time(self.publishing.create_channel()).await?;
        in_time(channel.confirm_select(ConfirmSelectOptions::default())).await?;
        Ok(Box::new(RabbitPublisher { channel }))
    }

    async fn close(&self) {
        // They may be closed already, or silent; nothing is left to do either way.
        let both = [&self.consuming, &self.publishing].map(|one| one.close(200, "bye".into()));
        let _ = tokio::time::timeout(CLOSE_MAX, join_all(both)).await;
    }
}

struct RabbitDeliveries {
    channel: Channel,
    consumer: lapin::Consumer,
    queue: String,
    /// Of the deliveries handed out and not yet acknowledged.
    last_tag: Option<u64>,
    /// Of the deliveries that cannot be read, and are to be rejected.
    unreadable: Vec<u64>,
}

impl RabbitDeliveries {
    /// `None` if it cannot be read.
    fn delivered(&mut self, one: lapin::message::Delivery) -> Option<Delivery> {
        let mut message = wire::message(&one.properties, one.data);
        if let Some(reason) = message.unreadable() {
            tracing::error!(queue = self.queue, reason, "dead letter: {reason}");
            self.unreadable.push(one.delivery_tag);
            return None;
        }
        self.last_tag = Some(one.delivery_tag);
        let counted = message.number(RETURNS).and_then(|count| count.try_into().ok());
        message.headers.retain(|name, _| ![RETURNS, ACQUIRED].contains(&name.as_str()));
        let returns = counted.unwrap_or(0).max(u32::from(one.redelivered));
        Some(Delivery { message, returns })
    }

    /// The broker itself moves them to the dead letters, with every byte.
    async fn reject_unreadable(&mut self) -> Result<(), BrokerError> {
        // Taken first: if this is dropped while it waits, the rejection is sent already.
        while let Some(tag) = self.unreadable.pop() {
            let options = BasicRejectOptions { requeue: false };
            in_time(self.channel.basic_reject(tag, options)).await?;
            metrics::DEAD.add(1, [&self.queue]);
        }
        Ok(())
    }
}

#[async_trait]
impl Deliveries for RabbitDeliveries {
    async fn next(&mut self, max: usize) -> Option<Vec<Delivery>> {
        loop {
            self.reject_unreadable().await.ok()?;
            let first = self.consumer.next().await?.ok()?;
            if let Some(first) = self.delivered(first) {
                let mut batch = vec![first];
                batch.extend(self.ready(max.saturating_sub(1)));
                return Some(batch);
            }
        }
    }

    fn ready(&mut self, max: usize) -> Vec<Delivery> {
        let mut ready = Vec::new();
        while ready.len() < max {
            match self.consumer.next().now_or_never() {
                Some(Some(Ok(delivery))) => ready.extend(self.delivered(delivery)),
                // The next call sees the end again.
                Some(_) | None => break,
            }
        }
        ready
    }

    /// On the delivering channel, which keeps the order of answers and deliveries.
    async fn depth(&mut self) -> Result<u32, BrokerError> {
        let options = QueueDeclareOptions { passive: true, ..Default::default() };
        let queue = self.consumer.queue();
        let found = self.channel.queue_declare(queue, options, FieldTable::default());
        Ok(in_time(found).await?.message_count())
    }

    async fn ack(&mut self) -> Result<(), BrokerError> {
        // First, since an acknowledgement covers all earlier deliveries.
        self.reject_unreadable().await?;
        let Some(tag) = self.last_tag.take() else {
            return Ok(());
        };
        in_time(self.channel.basic_ack(tag, BasicAckOptions { multiple: true })).await?;
        crash_at(CrashPoint::Acknowledged);
        Ok(())
    }
}

struct RabbitPublisher {
    channel: Channel,
}

#[async_trait]
impl Publisher for RabbitPublisher {
    async fn publish(&mut self, burst: &[Publication]) -> Result<Vec<Confirm>, BrokerError> {
        let sent = in_time(async {
            let sends = burst.iter().map(|publication| send(&self.channel, publication));
            let confirms = join_all(sends).await.into_iter().collect::<Result<Vec<_>, _>>()?;
            crash_at(CrashPoint::Published);
            join_all(confirms).await.into_iter().collect::<Result<Vec<_>, _>>()
        })
        .await
        .map_err(|why| match why {
            // A message that is too large.
            BrokerError::Topology(why) => BrokerError::Ended(why),
            other => other,
        })?;
        // lapin may attach a returned message to the confirm of a neighbour: go by the message's
        // id.
        let mut returned = HashSet::new();
        let mut refused = vec![false; burst.len()];
        for (confirmation, refused) in sent.into_iter().zip(&mut refused) {
            *refused = match &confirmation {
                Confirmation::Ack(_) => false,
                Confirmation::Nack(_) => true,
                Confirmation::NotRequested => {
                    return Err(BrokerError::away("the channel does not confirm"));
                }
            };
            if let Some(back) = confirmation.take_message() {
                returned.insert(back.properties.message_id().as_ref().map(ToString::to_string));
            }
        }
        Ok(burst
            .iter()
            .zip(refused)
            .map(|(publication, refused)| {
                if returned.contains(&publication.message.id) {
                    Confirm::Unroutable
                } else if refused {
                    Confirm::Refused
                } else {
                    Confirm::Stored
                }
            })
            .collect())
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that publishes")]
async fn send(
    channel: &Channel,
    publication: &Publication,
) -> lapin::Result<impl Future<Output = lapin::Result<Confirmation>> + use<>> {
    let options = BasicPublishOptions { mandatory: true, immediate: false };
    channel
        .basic_publish(
            publication.exchange.as_str().into(),
            publication.routing_key.as_str().into(),
            options,
            &publication.message.body,
            wire::properties(&publication.message),
        )
        .await
}

/// Bounds a wait for the broker.
async fn in_time<T>(work: impl Future<Output = lapin::Result<T>>) -> Result<T, BrokerError> {
    match tokio::time::timeout(DEADLINE, work).await {
        Err(_) => Err(BrokerError::away(format!("no answer within {} s", DEADLINE.as_secs()))),
        Ok(Ok(done)) => Ok(done),
        Ok(Err(why)) => Err(explain(&why)),
    }
}

fn explain(why: &lapin::Error) -> BrokerError {
    let refusal = match why.kind() {
        lapin::ErrorKind::ProtocolError(refusal) => refusal,
        // A broker that closes in the middle of a frame often resets the link before its reason
        // is read.
        lapin::ErrorKind::IOError(_) | lapin::ErrorKind::SerialisationError(_) => {
            return BrokerError::Ended(why.to_string());
        }
        _ => return BrokerError::away(why),
    };
    match refusal.kind() {
        AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED)
        | AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED) => BrokerError::Login(why.to_string()),
        AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED) => {
            BrokerError::Topology(why.to_string())
        }
        AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND) => BrokerError::Missing(why.to_string()),
        // It is shutting down.
        AMQPErrorKind::Hard(AMQPHardError::CONNECTIONFORCED) => BrokerError::away(why),
        _ => BrokerError::Ended(why.to_string()),
    }
}

#[cfg(test)]
mod tests;
