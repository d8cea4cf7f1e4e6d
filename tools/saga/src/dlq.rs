//! Lists, replays, repairs and purges dead letters for the `saga dlq` commands.

mod books;
mod import;
mod line;
mod pick;

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use audit::{Broker, Databases, Endpoints};
use dead_letters::{Done, Lease, Letter, Outcome, Past, Post, ReplayPlan, finish};
use events::OrderId;
use messaging::{Publication, Retention};
use order::acts::{Act, Actor, acts_of, outcomes};
use order::store;
use tokio::time::sleep;

use books::Books;

use crate::actor::ActorArgs;

pub use import::How;
pub use line::{Line, hex, value};
pub use pick::Pick;

/// A queue is counted every five seconds, and the counts are collected as often.
const COUNTED_WITHIN: Duration = Duration::from_secs(11);

pub struct DeadLetters {
    broker: Broker,
    books: Books,
    post: Post,
    retention: Retention,
    by: Actor,
}

/// The matching messages among the first `limit` of each queue.
pub async fn take(broker: &Broker, pick: &Pick, limit: usize) -> Result<Lease> {
    let queues = broker.parkings().await?.into_iter().filter(|queue| pick.looks_into(queue));
    Lease::take(broker.connection(), queues, limit, |letter| pick.fits(letter)).await
}

/// The number of dead letters that other commands hold, by queue. RabbitMQ counts every few
/// seconds: so long it is asked again, since those that were held at its last count may be gone.
pub async fn held(broker: &Broker, pick: &Pick) -> Result<BTreeMap<String, u64>> {
    let began = Instant::now();
    loop {
        let mut held = broker.held().await?;
        held.retain(|queue, _| pick.looks_into(queue));
        if held.is_empty() || began.elapsed() > COUNTED_WITHIN {
            return Ok(held);
        }
        sleep(Duration::from_millis(200)).await;
    }
}

impl DeadLetters {
    /// Acts are recorded as of this machine's user.
    pub async fn connect(endpoints: &Endpoints) -> Result<Self> {
        Self::connect_as(endpoints, &ActorArgs::default(), None).await
    }

    /// Acts are recorded as of this actor, for this reason.
    pub async fn connect_as(
        endpoints: &Endpoints,
        by: &ActorArgs,
        reason: Option<String>,
    ) -> Result<Self> {
        let broker = Broker::connect(endpoints).await?;
        let mut databases = Databases::connect(&endpoints.databases).await?;
        let by = by.actor(databases.of("order")?, reason).await?;
        let books = Books::new(databases);
        let post = Post::connect(&endpoints.amqp_url, "saga dlq").await?;
        Ok(Self { broker, books, post, retention: endpoints.retention(), by })
    }

    pub const fn broker(&self) -> &Broker {
        &self.broker
    }

    pub async fn take(&self, pick: &Pick, limit: usize) -> Result<Lease> {
        take(&self.broker, pick, limit).await
    }

    pub async fn statuses(&mut self, letters: &[&Letter]) -> Result<HashMap<OrderId, String>> {
        self.books.statuses(letters).await
    }

    /// The orders of these letters that are charged and not CONFIRMED, and their amounts.
    pub async fn charged(&mut self, letters: &[&Letter]) -> Result<Vec<(OrderId, String)>> {
        self.books.charged(letters).await
    }

    /// The plan of each message's replay.
    pub async fn judge(&mut self, letters: &[&Letter]) -> Result<Vec<(Past, ReplayPlan)>> {
        dead_letters::judge(&mut self.books, self.retention, letters).await
    }

    pub async fn replay(&mut self, lease: &Lease) -> Result<Vec<Done>> {
        let acts = self.begin("dlq.replay", &lease.letters()).await?;
        let done = dead_letters::replay(&mut self.books, self.retention, &mut self.post, lease);
        let done = done.await?;
        self.end(&acts, &done).await;
        Ok(done)
    }

    /// Records acts before they are done.
    async fn begin(&mut self, what: &'static str, letters: &[&Letter]) -> Result<Vec<Act>> {
        let acts = acts_of(&self.by, what, letters);
        store::begin_acts(self.books.orders()?, &acts).await.context("cannot record the acts")?;
        Ok(acts)
    }

    /// They are done, whether that can be recorded or not.
    async fn end(&mut self, acts: &[Act], done: &[Done]) {
        let ended = async {
            anyhow::Ok(store::end_acts(self.books.orders()?, &outcomes(acts, done)).await?)
        };
        if let Err(why) = ended.await {
            eprintln!("saga: the outcome is not recorded: {why:#}");
        }
    }

    pub async fn send_back(&mut self, letters: &[(&Letter, &str)]) -> Vec<Result<(), String>> {
        self.post.send_back(letters).await
    }

    async fn send(&mut self, burst: &[Publication]) -> Vec<Result<(), String>> {
        self.post.send(burst).await
    }

    /// Records the purge in the consumers' databases, and only then removes the messages.
    pub async fn purge(&mut self, lease: &Lease) -> Result<Vec<Done>> {
        let acts = self.begin("dlq.purge", &lease.letters()).await?;
        self.books.purge(&lease.letters()).await?;
        let mut all = Vec::with_capacity(lease.taken.len());
        for taken in &lease.taken {
            all.push(finish(lease, taken, Outcome::Purged, taken.letter.reason()).await);
        }
        self.end(&acts, &all).await;
        Ok(all)
    }
}
