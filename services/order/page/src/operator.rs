//! Connects to the broker as an operator, with the right to read all queues and to take dead
//! letters.

use anyhow::Result;
use dead_letters::Lease;
use messaging::{Broker, RabbitMq};
use secret::Secret;
use std::sync::Arc;
use tokio::sync::{Mutex, OwnedMutexGuard};

#[derive(Clone)]
pub struct Operator {
    pub amqp_url: Secret,
    /// Two concurrent reads of ours would hide dead letters from each other.
    hands: Arc<Mutex<()>>,
}

/// To be kept until the hand is given back.
pub type Hold = (dead_letters::Connection, OwnedMutexGuard<()>);

impl Operator {
    pub fn new(amqp_url: Secret) -> Self {
        Self { amqp_url, hands: Arc::default() }
    }

    pub fn broker(&self) -> Option<Arc<dyn Broker>> {
        let broker = RabbitMq::new(self.amqp_url.clone(), 1);
        broker
            .map_err(|why| tracing::warn!("OPERATOR_AMQP_URL is not a valid address: {why}"))
            .ok()
            .map(|it| Arc::new(it) as _)
    }

    pub async fn take(&self, queue: &str, limit: usize) -> Result<(Lease, Hold)> {
        let hands = self.hands.clone().lock_owned().await;
        let connection = dead_letters::connect(&self.amqp_url.read()).await?;
        let lease = Lease::take(&connection, [queue.to_owned()], limit, |_| true).await?;
        Ok((lease, (connection, hands)))
    }
}
