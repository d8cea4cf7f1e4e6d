//! Declares the topology at the start of a session. A user with the right to configure creates what
//! is missing; one without it (an operator owns the broker) only checks what it publishes to and
//! consumes from: RabbitMQ 4.3 refuses checks of anything else.

use super::errors::in_time;
use crate::{BrokerError, Exchange, ExchangeKind, Topology, wire};
use lapin::{Channel, Connection, ExchangeKind as Kind, options::*, types::FieldTable};
use std::sync::atomic::{AtomicBool, Ordering};

pub async fn make_sure(
    connection: &Connection,
    topology: &Topology,
    may_declare: &AtomicBool,
) -> Result<(), BrokerError> {
    if may_declare.load(Ordering::Relaxed) {
        let channel = in_time(connection.create_channel()).await?;
        match declare(&channel, topology).await {
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
    let channel = in_time(connection.create_channel()).await?;
    look(&channel, topology).await
}

/// Declares what is missing; existing exchanges and queues must have the same properties.
async fn declare(channel: &Channel, topology: &Topology) -> Result<(), BrokerError> {
    for one in &topology.exchanges {
        exchange(channel, one, false).await?;
    }
    for (name, shape) in &topology.queues {
        let arguments = wire::table(shape.arguments(topology.queue_type));
        queue(channel, name, arguments, false).await?;
    }
    for binding in &topology.bindings {
        let by_header = wire::table(binding.arguments());
        in_time(channel.queue_bind(
            binding.queue.as_str().into(),
            binding.exchange.as_str().into(),
            binding.key.as_str().into(),
            QueueBindOptions::default(),
            by_header,
        ))
        .await?;
    }
    in_time(channel.close(200, "declared".into())).await
}

/// Bindings cannot be checked: a missing one shows when an event is returned as unroutable.
async fn look(channel: &Channel, topology: &Topology) -> Result<(), BrokerError> {
    let own = format!("{}.", topology.service);
    for one in topology.exchanges.iter().filter(|one| one.name.starts_with(&own)) {
        exchange(channel, one, true).await?;
    }
    for name in topology.consumed() {
        queue(channel, name, FieldTable::default(), true).await?;
    }
    in_time(channel.close(200, "all there".into())).await
}

async fn exchange(channel: &Channel, one: &Exchange, passive: bool) -> Result<(), BrokerError> {
    let kind = match one.kind {
        ExchangeKind::Topic => Kind::Topic,
        ExchangeKind::Headers => Kind::Headers,
        ExchangeKind::Direct => Kind::Direct,
        ExchangeKind::Fanout => Kind::Fanout,
    };
    let options = ExchangeDeclareOptions { durable: true, passive, ..Default::default() };
    let name = one.name.as_str().into();
    in_time(channel.exchange_declare(name, kind, options, FieldTable::default())).await
}

async fn queue(
    channel: &Channel,
    name: &str,
    arguments: FieldTable,
    passive: bool,
) -> Result<(), BrokerError> {
    let options = QueueDeclareOptions { durable: true, passive, ..Default::default() };
    in_time(channel.queue_declare(name.into(), options, arguments)).await.map(|_| ())
}
