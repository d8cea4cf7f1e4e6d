//! Declares the topology at the start of a session. A user with the right to configure creates what
//! is missing; one without it (an operator owns the broker) only checks what it publishes to and
//! consumes from: RabbitMQ 4.3 refuses checks of anything else.

use super::{brokers::Node, errors::explain};
use crate::{BrokerError, Exchange, ExchangeKind, QueueShape, Topology, wire};
use futures::{StreamExt, stream::FuturesOrdered};
use lapin::{Channel, Connection, ExchangeKind as Kind, Queue, options::*, types::FieldTable};
use std::sync::atomic::{AtomicBool, Ordering};

pub async fn make_sure(
    connection: &Connection,
    topology: &Topology,
    node: &Node,
    may_declare: &AtomicBool,
) -> Result<(), BrokerError> {
    if may_declare.load(Ordering::Relaxed) {
        let channel = channel(connection, node).await?;
        match declare(&channel, topology, node).await {
            Err(BrokerError::Login(_)) => {
                tracing::info!(
                    "this user may not declare exchanges or queues; checking that they exist"
                );
                // The broker logs each refusal as an error: one is enough.
                may_declare.store(false, Ordering::Relaxed);
            }
            done => return done,
        }
    }
    look(&channel(connection, node).await?, topology, node).await
}

/// Declares what is missing; existing exchanges and queues must have the same properties.
async fn declare(channel: &Channel, topology: &Topology, node: &Node) -> Result<(), BrokerError> {
    let (exchanges, queues) = (&topology.exchanges, &topology.queues);
    all(node, exchanges.iter().map(|one| exchange(channel, one, false))).await?;
    let arguments = |shape: &QueueShape| wire::table(shape.arguments(topology.queue_type));
    let declared = queues.iter().map(|(name, shape)| queue(channel, name, arguments(shape), false));
    all(node, declared).await?;
    let bound = topology.bindings.iter().map(|binding| {
        channel.queue_bind(
            binding.queue.as_str().into(),
            binding.exchange.as_str().into(),
            binding.key.as_str().into(),
            QueueBindOptions::default(),
            wire::table(binding.arguments()),
        )
    });
    all(node, bound).await?;
    close(channel, node).await
}

/// Bindings cannot be checked: a missing one shows when an event is returned as unroutable.
async fn look(channel: &Channel, topology: &Topology, node: &Node) -> Result<(), BrokerError> {
    let own = format!("{}.", topology.service);
    let exchanges = topology.exchanges.iter().filter(|one| one.name.starts_with(&own));
    all(node, exchanges.map(|one| exchange(channel, one, true))).await?;
    let queues = topology.consumed();
    all(node, queues.map(|name| queue(channel, name, FieldTable::default(), true))).await?;
    close(channel, node).await
}

/// Asks for all at once. Each answer has its own time: a node may be slow with all of them.
async fn all<T>(
    node: &Node,
    asked: impl Iterator<Item = impl Future<Output = lapin::Result<T>>>,
) -> Result<(), BrokerError> {
    let mut answers: FuturesOrdered<_> = asked.collect();
    // After a refusal, all later ones fail with it.
    while let Some(answer) = node.in_time(async { Ok(answers.next().await) }).await? {
        answer.map_err(|why| explain(&why))?;
    }
    Ok(())
}

async fn channel(connection: &Connection, node: &Node) -> Result<Channel, BrokerError> {
    let opened = async { connection.create_channel().await.map_err(|why| explain(&why)) };
    node.in_time(opened).await
}

async fn close(channel: &Channel, node: &Node) -> Result<(), BrokerError> {
    let closed = async { channel.close(200, "declared".into()).await.map_err(|why| explain(&why)) };
    node.in_time(closed).await
}

async fn exchange(channel: &Channel, one: &Exchange, passive: bool) -> lapin::Result<()> {
    let kind = match one.kind {
        ExchangeKind::Topic => Kind::Topic,
        ExchangeKind::Headers => Kind::Headers,
        ExchangeKind::Direct => Kind::Direct,
        ExchangeKind::Fanout => Kind::Fanout,
    };
    let options = ExchangeDeclareOptions { durable: true, passive, ..Default::default() };
    channel.exchange_declare(one.name.as_str().into(), kind, options, FieldTable::default()).await
}

async fn queue(
    channel: &Channel,
    name: &str,
    arguments: FieldTable,
    passive: bool,
) -> lapin::Result<Queue> {
    let options = QueueDeclareOptions { durable: true, passive, ..Default::default() };
    channel.queue_declare(name.into(), options, arguments).await
}
