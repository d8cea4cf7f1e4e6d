//! Connects to the broker as an operator, with the right to read all queues and to take dead
//! letters.

use crate::dead::{Deed, OwnBooks};
use anyhow::{Context as _, Result};
use async_trait::async_trait;
use dead_letters::{Done, FetchedMessages, Lease, Letter, Post, judge, order_of, replay};
use events::OrderId;
use messaging::{Broker, RabbitMq};
use order::acts::{acts_of, outcomes};
use secret::Secret;
use std::sync::Arc;
use tokio::sync::{Mutex, OwnedMutexGuard};

/// Messages among which an order's is looked for.
const SEARCHED_MAX: usize = 200;

/// What an operator may do with the broker: RabbitMQ in production, in memory for `saga play`.
#[async_trait]
pub trait Operator: Send + Sync + 'static {
    /// To look at all queues.
    fn broker(&self) -> Option<Arc<dyn Broker>>;
    /// The first dead letter of a queue.
    async fn first(&self, queue: &str) -> Result<Option<Letter>>;
    /// Makes a dead letter of this order's message in a queue; false where it is not there.
    async fn set_aside(&self, queue: &str, order: OrderId) -> Result<bool>;
    /// Does this with the first `max` of them.
    async fn act(&self, books: OwnBooks, queue: &str, max: usize, deed: Deed) -> Result<Acted>;
}

#[derive(Default)]
pub struct Acted {
    /// Each with the outcome of its replay, planned or done, and whether that is a success.
    pub letters: Vec<(Letter, (String, bool))>,
    pub unseen: usize,
}

pub struct RabbitOperator {
    amqp_url: Secret,
    /// Two concurrent reads of ours would hide dead letters from each other.
    hands: Arc<Mutex<()>>,
}

/// To be kept until the lease is given back.
type Hold = (dead_letters::Connection, OwnedMutexGuard<()>);

impl RabbitOperator {
    pub fn new(amqp_url: Secret) -> Self {
        Self { amqp_url, hands: Arc::default() }
    }

    async fn take(&self, queue: &str, limit: usize) -> Result<(Lease, Hold)> {
        let hands = self.hands.clone().lock_owned().await;
        let connection = dead_letters::connect(&self.amqp_url.read()).await?;
        let lease = Lease::take(&connection, [queue.to_owned()], limit, |_| true).await?;
        Ok((lease, (connection, hands)))
    }

    async fn outcomes_of(
        &self,
        mut books: OwnBooks,
        lease: &Lease,
        deed: Deed,
    ) -> Result<Vec<(String, bool)>> {
        let (letters, retention) = (lease.letters(), books.retention);
        if deed != Deed::Replay {
            let judged = judge(&mut books, retention, &letters).await?;
            return Ok(judged.into_iter().map(|(_, plan)| plan.told()).collect());
        }
        let mut post = Post::connect(&self.amqp_url.read(), "order: operator").await?;
        let acts = acts_of(&books.by, "dlq.replay", &letters);
        books.backend.begin_acts(&acts).await.context("cannot record the replay")?;
        let done = replay(&mut books, retention, &mut post, lease).await?;
        books.backend.end_acts(&outcomes(&acts, &done)).await?;
        Ok(done.iter().map(Done::told).collect())
    }
}

#[async_trait]
impl Operator for RabbitOperator {
    fn broker(&self) -> Option<Arc<dyn Broker>> {
        let broker = RabbitMq::new(self.amqp_url.clone(), 1);
        broker
            .map_err(|why| tracing::warn!("OPERATOR_AMQP_URL is not a valid address: {why}"))
            .ok()
            .map(|it| Arc::new(it) as _)
    }

    async fn first(&self, queue: &str) -> Result<Option<Letter>> {
        let (lease, _hold) = self.take(queue, 1).await?;
        let first = lease.letters().first().map(|letter| Letter::clone(letter));
        lease.give_back().await?;
        Ok(first)
    }

    async fn set_aside(&self, queue: &str, order: OrderId) -> Result<bool> {
        let _hands = self.hands.lock().await;
        let connection = dead_letters::connect(&self.amqp_url.read()).await?;
        let fetched = FetchedMessages::take(&connection, queue, SEARCHED_MAX).await?;
        let mut own = fetched.messages.iter();
        let own = own.find(|(_, message)| order_of(message) == Some(order));
        let tag = own.map(|(tag, _)| *tag);
        if let Some(tag) = tag {
            fetched.reject(tag).await?;
        }
        fetched.give_back().await?;
        Ok(tag.is_some())
    }

    async fn act(&self, books: OwnBooks, queue: &str, max: usize, deed: Deed) -> Result<Acted> {
        let (lease, _hold) = self.take(queue, max).await?;
        let told = self.outcomes_of(books, &lease, deed).await;
        let unseen = lease.unseen.values().sum();
        let letters: Vec<_> = lease.letters().into_iter().cloned().collect();
        let given_back = lease.give_back().await;
        let letters = letters.into_iter().zip(told?).collect();
        given_back?;
        Ok(Acted { letters, unseen })
    }
}
