//! Defines the broker interface: RabbitMQ in production, in-memory for tests, with the same
//! semantics.

use crate::{Message, Outgoing, Topology, exchange_of, header, message::is_trace};
use async_trait::async_trait;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
};

#[async_trait]
pub trait Broker: Send + Sync + 'static {
    /// Connects and ensures the topology. A session is never repaired: when any part of it fails,
    /// it is dropped and a new one is built.
    async fn connect(&self, topology: &Topology) -> Result<Box<dyn Session>, BrokerError>;
    /// Connects as `name`, for inspection only.
    async fn look(&self, _name: &str) -> Result<Box<dyn QueueInspector>, BrokerError> {
        Err(BrokerError::away("this broker cannot be looked at"))
    }
}

/// Inspects queues, and takes no message.
#[async_trait]
pub trait QueueInspector: Send {
    /// One answer for each queue; `None` for a missing queue.
    async fn depths(&mut self, queues: &[String]) -> Result<Vec<Option<Depth>>, BrokerError>;
}

/// A queue at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Messages that are not delivered to any consumer.
    pub ready: u32,
    pub consumers: u32,
}

#[async_trait]
pub trait Session: Send + Sync {
    async fn consume(&self, queue: &str) -> Result<Box<dyn Deliveries>, BrokerError>;
    async fn publisher(&self) -> Result<Box<dyn Publisher>, BrokerError>;
    /// Whether another session could be on another node.
    fn has_others(&self) -> bool {
        false
    }
    /// Returns the unacknowledged messages to their queues.
    async fn close(&self);
}

#[async_trait]
pub trait Deliveries: Send {
    /// Waits for one message, then takes what else has arrived, `max` at most. `None` is the end of
    /// the session. May be dropped while it waits.
    async fn next(&mut self, max: usize) -> Option<Vec<Delivery>>;
    /// What has already arrived, without waiting; `max` at most.
    fn ready(&mut self, max: usize) -> Vec<Delivery>;
    /// Asks the queue for one more message, which then arrives as all others do. If there is none,
    /// every earlier message is here or with another consumer.
    async fn is_empty(&mut self) -> Result<bool, BrokerError>;
    /// Acknowledges everything that was handed out, except the deliveries of these tags.
    async fn ack(&mut self, except: &BTreeSet<u64>) -> Result<(), BrokerError>;
}

#[async_trait]
pub trait Publisher: Send + Sync {
    /// Publishes all, mandatory and persistent, and waits for all confirms: one answer for each.
    /// May be called again meanwhile.
    async fn publish(&self, burst: &[Publication]) -> Result<Vec<Confirm>, BrokerError>;
}

#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    pub message: Message,
    /// The number of earlier deliveries without an acknowledgement.
    pub returns: u32,
    /// Its name among its consumer's deliveries.
    pub tag: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Publication {
    pub exchange: String,
    pub routing_key: String,
    pub message: Message,
}

impl Outgoing {
    /// The event as it is published, the same at every repetition.
    pub fn publication(&self) -> Publication {
        let mut message = Message {
            id: Some(self.id.to_string()),
            kind: Some(self.event.clone()),
            correlation_id: Some(self.order_id.to_string()),
            app_id: Some(events::said_by(&self.event).into()),
            timestamp: self.id.get_timestamp().map(|at| at.to_unix().0),
            content_type: Some("application/json".into()),
            headers: BTreeMap::new(),
            body: self.body.clone().into_bytes(),
        }
        .with(header::VERSION, i64::from(self.version));
        if let Some(cause) = self.caused_by {
            message = message.with(header::CAUSE, cause.to_string());
        }
        if let Some(trace) = self.trace.as_deref().filter(|text| is_trace(text)) {
            message = message.with(header::TRACE, trace);
        }
        Publication {
            exchange: exchange_of(events::said_by(&self.event)),
            routing_key: self.event.clone(),
            message,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirm {
    /// The broker has it, on disk, in every bound queue.
    Stored,
    /// No queue is bound.
    Unroutable,
    /// A queue is full or failing.
    Refused,
}

#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BrokerError {
    /// Unreachable, or the connection broke: waiting helps.
    #[error("broker unavailable: {0}")]
    Away(String),
    /// It closed the connection or the channel, perhaps because of a message that was sent.
    #[error("the broker ended the connection: {0}")]
    Ended(String),
    /// The login is wrong: waiting does not help.
    #[error(
        "the broker rejected the login: {0}; check user, password and virtual host in AMQP_URL, \
         and the user's permissions"
    )]
    Login(String),
    /// An exchange or queue is missing, and this user may not create it.
    #[error(
        "the broker's topology is incomplete: {0}; import what `saga topology` prints, or let this \
         user configure"
    )]
    Missing(String),
    /// An exchange or queue of ours exists with other properties.
    #[error(
        "the broker's topology differs from the expected one: {0}; delete what it names, or use \
         another virtual host"
    )]
    Topology(String),
}

impl BrokerError {
    pub fn away(why: impl Display) -> Self {
        Self::Away(why.to_string())
    }

    /// Whether waiting may help.
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Away(_) | Self::Ended(_))
    }
}
