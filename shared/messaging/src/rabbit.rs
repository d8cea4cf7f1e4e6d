//! Connects to RabbitMQ. Two connections, since under an alarm RabbitMQ stops reading from a
//! connection that publishes, acknowledgements included. A failed session is dropped, and its owner
//! builds a new one.

mod address;
mod brokers;
mod declare;
mod errors;
mod frames;
mod link;
mod look;
mod maybe_tls;
mod properties;
mod transport;

use crate::{
    BODY_MAX, Broker, BrokerError, Confirm, CrashPoint, Deliveries, Delivery, Env, Publication,
    Publisher, QueueInspector, Session, SystemEnv, Topology, crash_at, crash_is_due, wire,
};
use amq_protocol::protocol::{
    AMQPClass,
    basic::{AMQPMethod, Ack, Consume, Get, Qos, Reject},
    confirm,
};
use async_trait::async_trait;
use brokers::{Brokers, Node, Refusals};
use errors::within;
use futures::future::join_all;
use lapin::{Connection, ConnectionProperties};
use link::{Arrived, Link, LinkChannel};
use secret::Secret;
use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};
use telemetry::metrics;
use tokio::{sync::RwLock, time::timeout};

/// For the whole topology: a broker with slow disks takes a while for a hundred objects.
const DECLARE_MAX: Duration = Duration::from_secs(30);
/// The next session waits for this one to close: only so long, if the broker does not answer.
const CLOSE_MAX: Duration = Duration::from_secs(2);
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
    brokers: Brokers,
    prefetch: u16,
    /// Random.
    rank: i64,
    /// Until the broker refuses it.
    may_declare: AtomicBool,
}

impl RabbitMq {
    /// `urls` is one URL, or several with commas between them. `prefetch` is the number of
    /// unacknowledged messages for each queue.
    pub fn new(urls: impl Into<Secret>, prefetch: u16) -> Result<Self, String> {
        let rank = (SystemEnv.random() % RANKS).cast_signed();
        Ok(Self { brokers: Brokers::new(urls.into())?, prefetch, rank, may_declare: true.into() })
    }

    /// A connection of lapin's to the first node that lets us in.
    async fn open(
        &self,
        name: String,
        body_max: Option<usize>,
    ) -> Result<(Connection, Node), BrokerError> {
        let mut refusals = Refusals::default();
        for node in self.brokers.nodes(&mut refusals).await {
            let properties =
                ConnectionProperties::default().with_connection_name(name.as_str().into());
            let connect = transport::connect(&node, properties, body_max);
            match node.in_time(connect).await {
                Ok(connection) => {
                    self.brokers.found(&node, refusals);
                    return Ok((connection, node));
                }
                Err(why) => refusals.push(&node, why),
            }
        }
        Err(refusals.sum())
    }

    /// Ensures the topology, on a connection of lapin's that is closed at once. Returns its node.
    async fn declare(&self, topology: &Topology) -> Result<Node, BrokerError> {
        let name = format!("{}: declares", topology.service);
        let (connection, node) = self.open(name, Some(BODY_MAX)).await?;
        self.brokers.used(&node);
        let declared = declare::make_sure(&connection, topology, &node, &self.may_declare);
        let late = |_| BrokerError::away(format!("not declared within {DECLARE_MAX:?}"));
        let declared = timeout(DECLARE_MAX, declared).await.map_err(late).flatten();
        // It may be closed already, or silent.
        let goodbye = connection.close(200, "declared".into());
        let _ = timeout(CLOSE_MAX, goodbye).await;
        declared.map(|()| node)
    }

    /// Tries all nodes at the first session: a wrong address is not found only when it is needed.
    async fn try_all(&self, name: String) {
        let mut refusals = Refusals::default();
        let nodes = self.brokers.untried(&mut refusals).await;
        let tried = nodes.iter().map(async |node| {
            let link = link(node, name.clone()).await?;
            let _ = timeout(CLOSE_MAX, link.close()).await;
            Ok(())
        });
        let mut found = None;
        for (node, tried) in nodes.iter().zip(join_all(tried).await) {
            match tried {
                Ok(()) => found = Some(node),
                Err(why) => refusals.push(node, why),
            }
        }
        if let Some(found) = found {
            self.brokers.found(found, refusals);
        }
    }

    /// A connection for an operator's tool, which reads bodies of any size.
    pub async fn connection(urls: &str, name: &str) -> Result<Connection, BrokerError> {
        let rabbit = Self::new(urls, 1).map_err(BrokerError::Login)?;
        Ok(rabbit.open(name.into(), None).await?.0)
    }
}

async fn link(node: &Node, name: String) -> Result<Link, BrokerError> {
    node.in_time(Link::open(node, &name, BODY_MAX)).await
}

#[async_trait]
impl Broker for RabbitMq {
    async fn connect(&self, topology: &Topology) -> Result<Box<dyn Session>, BrokerError> {
        let service = &topology.service;
        let (node, ()) =
            tokio::join!(self.declare(topology), self.try_all(format!("{service}: looks")));
        let node = node?;
        let (consuming, publishing) = tokio::try_join!(
            link(&node, format!("{service}: consumes")),
            link(&node, format!("{service}: publishes")),
        )?;
        let Self { prefetch, rank, .. } = *self;
        Ok(Box::new(RabbitSession { node, consuming, publishing, prefetch, rank }))
    }

    async fn look(&self, name: &str) -> Result<Box<dyn QueueInspector>, BrokerError> {
        let (connection, _) = self.open(name.into(), None).await?;
        Ok(Box::new(look::RabbitQueueInspector::new(connection)))
    }
}

struct RabbitSession {
    node: Node,
    consuming: Link,
    publishing: Link,
    prefetch: u16,
    rank: i64,
}

#[async_trait]
impl Session for RabbitSession {
    async fn consume(&self, queue: &str) -> Result<Box<dyn Deliveries>, BrokerError> {
        let channel = self.node.in_time(self.consuming.channel()).await?;
        let qos = Qos { prefetch_count: self.prefetch, global: false };
        self.node.in_time(channel.call(AMQPClass::Basic(AMQPMethod::Qos(qos)))).await?;
        let consume = Consume {
            queue: queue.into(),
            consumer_tag: CONSUMER.into(),
            arguments: wire::table([(RANK, self.rank.into())]),
            ..Consume::default()
        };
        self.node.in_time(channel.call(AMQPClass::Basic(AMQPMethod::Consume(consume)))).await?;
        Ok(Box::new(RabbitDeliveries {
            node: self.node.clone(),
            channel,
            queue: queue.into(),
            unacked: vec![],
            unreadable: vec![],
        }))
    }

    async fn publisher(&self) -> Result<Box<dyn Publisher>, BrokerError> {
        let channel = self.node.in_time(self.publishing.channel()).await?;
        self.node.in_time(confirms(&channel)).await?;
        Ok(Box::new(RabbitPublisher { channel: channel.into(), was_refused: false.into() }))
    }

    fn has_others(&self) -> bool {
        self.node.has_others
    }

    async fn close(&self) {
        // They may be closed already, or silent; nothing is left to do either way.
        let both = [&self.consuming, &self.publishing].map(Link::close);
        let _ = timeout(CLOSE_MAX, join_all(both)).await;
    }
}

struct RabbitDeliveries {
    node: Node,
    channel: LinkChannel,
    queue: String,
    /// The tags of deliveries that are handed out and not yet acknowledged, in order.
    unacked: Vec<u64>,
    /// The tags of deliveries that cannot be read, and are to be rejected.
    unreadable: Vec<u64>,
}

impl RabbitDeliveries {
    /// `None` if it cannot be read.
    fn delivered(&mut self, one: Arrived) -> Option<Delivery> {
        let mut message = wire::message(&one.properties, one.body);
        if let Some(reason) = message.unreadable_in(self.channel.frame_max()) {
            tracing::error!(queue = self.queue, reason, "dead letter: {reason}");
            self.unreadable.push(one.tag);
            return None;
        }
        self.unacked.push(one.tag);
        let counted = message.number(RETURNS).and_then(|count| count.try_into().ok());
        message.headers.retain(|name, _| ![RETURNS, ACQUIRED].contains(&name.as_str()));
        let returns = counted.unwrap_or(0).max(u32::from(one.redelivered));
        Some(Delivery { message, returns, tag: one.tag })
    }

    /// The broker itself moves them to the dead letters, with every byte.
    fn reject_unreadable(&mut self) -> Result<(), BrokerError> {
        while let Some(delivery_tag) = self.unreadable.pop() {
            let reject = Reject { delivery_tag, requeue: false };
            self.channel.tell(AMQPClass::Basic(AMQPMethod::Reject(reject)))?;
            metrics::DEAD.add(1, [&self.queue]);
        }
        Ok(())
    }
}

#[async_trait]
impl Deliveries for RabbitDeliveries {
    async fn next(&mut self, max: usize) -> Option<Vec<Delivery>> {
        loop {
            self.reject_unreadable().ok()?;
            let first = self.channel.next().await?;
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
            // The next call sees the end.
            let Some(one) = self.channel.ready() else { break };
            ready.extend(self.delivered(one));
        }
        ready
    }

    /// On the delivering channel, which keeps the order of answers and deliveries. Most members of
    /// the queue agree to the answer; a declaration counts 0 messages where it finds no leader.
    async fn is_empty(&mut self) -> Result<bool, BrokerError> {
        let get = Get { queue: self.queue.as_str().into(), no_ack: false };
        let answer = self.node.in_time(self.channel.call(AMQPClass::Basic(AMQPMethod::Get(get))));
        match answer.await {
            Ok(AMQPClass::Basic(AMQPMethod::GetEmpty(_))) => Ok(true),
            Ok(AMQPClass::Basic(AMQPMethod::GetOk(_))) => Ok(false),
            Ok(other) => Err(BrokerError::away(format!("the broker answers with {other:?}"))),
            Err(BrokerError::Away(why)) => {
                let (node, queue) = (self.node.name(), &self.queue);
                Err(BrokerError::Away(format!("{queue} is out of reach on {node}: {why}")))
            }
            Err(why) => Err(why),
        }
    }

    async fn ack(&mut self, except: &BTreeSet<u64>) -> Result<(), BrokerError> {
        // First, since an acknowledgement covers all earlier deliveries.
        self.reject_unreadable()?;
        let handled: Vec<_> = self.unacked.extract_if(.., |tag| !except.contains(tag)).collect();
        if handled.is_empty() {
            return Ok(());
        }
        // All up to the first exception at once, and the others one by one.
        let first_kept = self.unacked.first().copied().unwrap_or(u64::MAX);
        let together = handled.partition_point(|tag| *tag < first_kept);
        let multiple = handled[..together].last().map(|tag| (*tag, true));
        let single = handled[together..].iter().map(|tag| (*tag, false));
        for (delivery_tag, multiple) in multiple.into_iter().chain(single) {
            let ack = Ack { delivery_tag, multiple };
            self.channel.tell(AMQPClass::Basic(AMQPMethod::Ack(ack)))?;
        }
        if crash_is_due(CrashPoint::Acknowledged) {
            within(self.channel.written()).await?;
            crash_at(CrashPoint::Acknowledged);
        }
        Ok(())
    }
}

async fn confirms(channel: &LinkChannel) -> Result<(), BrokerError> {
    let select = confirm::AMQPMethod::Select(confirm::Select { nowait: false });
    channel.call(AMQPClass::Confirm(select)).await.map(drop)
}

struct RabbitPublisher {
    channel: RwLock<LinkChannel>,
    was_refused: AtomicBool,
}

impl RabbitPublisher {
    /// After a refusal the channel is opened anew: when a limit of a queue ends, RabbitMQ 3.10
    /// refuses whatever else comes on it.
    async fn renew(&self) -> Result<(), BrokerError> {
        // Others may be awaiting their confirms: then it is done later.
        if let Ok(mut channel) = self.channel.try_write()
            && self.was_refused.swap(false, Ordering::Relaxed)
        {
            within(channel.reopen()).await?;
            within(confirms(&channel)).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl Publisher for RabbitPublisher {
    async fn publish(&self, burst: &[Publication]) -> Result<Vec<Confirm>, BrokerError> {
        if self.was_refused.load(Ordering::Relaxed) {
            self.renew().await?;
        }
        let channel = self.channel.read().await;
        let confirms = within(channel.publish(burst)).await.map_err(|why| match why {
            // A message that is too large.
            BrokerError::Topology(why) => BrokerError::Ended(why),
            other => other,
        })?;
        if confirms.contains(&Confirm::Refused) {
            self.was_refused.store(true, Ordering::Relaxed);
        }
        Ok(confirms)
    }
}
