//! What the loop needs of a broker. RabbitMQ in earnest, in-memory for tests: the same meaning.

use crate::{Message, Outgoing, Topology, exchange_of, header, message::is_trace};
use async_trait::async_trait;
use std::{collections::BTreeMap, fmt::Display};

#[async_trait]
pub trait Broker: Send + Sync + 'static {
    /// Connects and makes sure that the topology is there. A session is never repaired: when
    /// anything about it fails it is dropped and made anew.
    async fn connect(&self, topology: &Topology) -> Result<Box<dyn Session>, BrokerError>;
    /// Connects only to look, as `name`.
    async fn look(&self, _name: &str) -> Result<Box<dyn Lookout>, BrokerError> {
        Err(BrokerError::away("this broker cannot be looked at"))
    }
}

/// Looks at queues, and takes nothing.
#[async_trait]
pub trait Lookout: Send {
    /// One answer for each queue; `None` where there is no such queue.
    async fn depths(&mut self, queues: &[String]) -> Result<Vec<Option<Depth>>, BrokerError>;
}

/// A queue at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Messages that are with nobody.
    pub ready: u32,
    pub consumers: u32,
}

#[async_trait]
pub trait Session: Send + Sync {
    async fn consume(&self, queue: &str) -> Result<Box<dyn Deliveries>, BrokerError>;
    async fn publisher(&self) -> Result<Box<dyn Publisher>, BrokerError>;
    /// Hands back what was delivered and not settled.
    async fn close(&self);
}

#[async_trait]
pub trait Deliveries: Send {
    /// Waits for one message, then takes what else is there, `max` at most. `None` is the end of
    /// the session. May be dropped while it waits.
    async fn next(&mut self, max: usize) -> Option<Vec<Delivery>>;
    /// What is here already, without waiting; `max` at most.
    fn ready(&mut self, max: usize) -> Vec<Delivery>;
    /// How many messages are in the queue, beside those that are here. What was in the queue before
    /// this was asked is here when it is answered with 0, or somebody else has it.
    async fn waiting(&mut self) -> Result<u32, BrokerError>;
    /// Acknowledges everything that was handed out.
    async fn settle(&mut self) -> Result<(), BrokerError>;
}

#[async_trait]
pub trait Publisher: Send {
    /// Publishes all, mandatory and persistent, and waits for all confirms: one answer for each.
    async fn publish(&mut self, burst: &[Publication]) -> Result<Vec<Confirm>, BrokerError>;
}

#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    pub message: Message,
    /// How often it was delivered before, and not settled.
    pub returns: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Publication {
    pub exchange: String,
    pub routing_key: String,
    pub message: Message,
}

impl Outgoing {
    /// As it is published, today and at every repetition.
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
    /// The broker has it, on disk, in every queue that listens.
    Stored,
    /// No queue listens.
    Unroutable,
    /// A queue is full or failing.
    Refused,
}

#[derive(Clone, Debug, thiserror::Error)]
pub enum BrokerError {
    /// Not reachable, or the connection broke: waiting helps.
    #[error("the broker is away: {0}")]
    Away(String),
    /// It ended the connection or the channel, perhaps for what was sent.
    #[error("the broker ended the connection: {0}")]
    Ended(String),
    /// The login is wrong: waiting does not help.
    #[error(
        "the broker refuses us: {0}; check user, password and virtual host in AMQP_URL, and what \
         the user may do"
    )]
    Login(String),
    /// An exchange or queue is not there, and we may not make it.
    #[error(
        "the broker's topology is incomplete: {0}; import what `saga topology` prints, or let this \
         user configure"
    )]
    Missing(String),
    /// An exchange or queue of ours exists with other properties.
    #[error(
        "the broker's topology is not ours: {0}; delete what it names, or use another virtual host"
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
