//! The chassis: a service names its reactions, its store and its jobs; everything else is here.
//!
//! ```ignore
//! Service::new("payment", store)
//!     .on::<OrderCreated>()
//!     .every(Duration::from_secs(30), "finish interrupted charges", reaper)
//! ```

mod boot;
mod clock;
mod command;
mod health;
pub mod http;
mod keys;
mod sampling;
mod settings;

use axum::Router;
use events::Event;
use futures::future::BoxFuture;
use http::Listen;
use messaging::{
    Broker, Consumer, Kept, Ladder, Ledger, Line, Outbox, PgLedger, Progress, Queue, QueueType,
    Relay, Store, Topology, World,
};
use refinery_core::Migration;
use saga::On;
use sampling::Sample;
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

pub use boot::Running;
pub use clock::Clock;
pub use command::main;
pub use health::Health;
pub use messaging::parse_duration;
pub use sampling::seconds_since;
pub use settings::Common;

/// Of all four services: it takes half the time of the C library's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pub struct Service<S: Store> {
    pub name: &'static str,
    store: Arc<S>,
    pub queues: Vec<Queue<S::State>>,
    migrations: Vec<Migration>,
    workers: Vec<Worker>,
    samples: Vec<Sample>,
    http: Option<Http>,
}

/// What a job, a worker and a route are given.
#[derive(Clone)]
pub struct Context<L = PgLedger> {
    pub ledger: L,
    pub outbox: Outbox,
    pub world: Arc<dyn World>,
    pub health: Arc<Health>,
    /// To be looked at: what is said goes by the outbox.
    pub broker: Arc<dyn Broker>,
    pub ladder: Ladder,
    pub kept: Kept,
    /// Rows in one transaction, at most.
    pub batch_max: usize,
    /// Cancelled when the service is told to stop.
    pub stop: CancellationToken,
    /// Cancelled after that, when no message is handled any more.
    pub deaf: CancellationToken,
}

type Job = Arc<dyn Fn(Context) -> BoxFuture<'static, anyhow::Result<()>> + Send + Sync>;

struct Worker {
    what: &'static str,
    work: Box<dyn FnOnce(Context) -> BoxFuture<'static, ()> + Send>,
}

struct Http {
    listen: Listen,
    routes: Box<dyn FnOnce(Context) -> Router + Send>,
}

/// How a line is tuned.
#[derive(Clone, Debug)]
pub struct Tuning {
    pub ladder: Ladder,
    pub kept: Kept,
    pub queue_type: QueueType,
    pub batch_max: usize,
    /// Bytes that may wait to be published; the table has them all.
    pub outbox_memory: usize,
}

impl<S: Store> Service<S> {
    pub fn new(name: &'static str, store: S) -> Self {
        let bare = Self {
            name,
            store: Arc::new(store),
            queues: Vec::new(),
            migrations: Vec::new(),
            workers: Vec::new(),
            samples: vec![Arc::new(|context| Box::pin(sampling::outbox(context)))],
            http: None,
        };
        bare.every(keys::PERIOD, "keep idempotency keys bounded", keys::tend)
    }

    /// Applied at boot, after the tables that every service has.
    #[must_use]
    pub fn migrations(mut self, migrations: Vec<Migration>) -> Self {
        self.migrations = migrations;
        self
    }

    /// Hears `E`, in a queue of its own.
    #[must_use]
    pub fn on<E: Event>(mut self) -> Self
    where
        S::State: On<E> + 'static,
    {
        self.queues.push(Queue::of::<E>(self.name));
        self
    }

    /// Does something again and again; each time after the last has ended.
    #[must_use]
    pub fn every<F>(
        self,
        period: Duration,
        what: &'static str,
        job: impl Fn(Context) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let job: Job = Arc::new(move |context| Box::pin(job(context)));
        self.worker(what, move |context| repeat(period, what, job, context))
    }

    /// Works on its own from boot until `Context::stop`.
    #[must_use]
    pub fn worker<F>(
        mut self,
        what: &'static str,
        work: impl FnOnce(Context) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.workers.push(Worker { what, work: Box::new(|context| Box::pin(work(context))) });
        self
    }

    /// Looks at something now and then and sets gauges, where anybody reads them.
    #[must_use]
    pub fn samples<F>(mut self, look: impl Fn(Context) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        self.samples.push(Arc::new(move |context| Box::pin(look(context))));
        self
    }

    #[must_use]
    pub fn http(
        mut self,
        listen: Listen,
        routes: impl FnOnce(Context) -> Router + Send + 'static,
    ) -> Self {
        self.http = Some(Http { listen, routes: Box::new(routes) });
        self
    }

    /// The events it hears, in the order in which they were named.
    pub fn hears(&self) -> Vec<&'static str> {
        self.queues.iter().map(|queue| queue.event).collect()
    }

    /// Its reactions on any broker and any ledger.
    pub fn line<L: Ledger<Tx = S::Tx>>(
        &self,
        broker: Arc<dyn Broker>,
        ledger: &L,
        world: &Arc<dyn World>,
        tuning: &Tuning,
    ) -> (Line<S, L>, Outbox) {
        let progress = Progress::new();
        let (outbox, relay) =
            Relay::new(ledger.clone(), world.clone(), tuning.batch_max, tuning.outbox_memory);
        let relay = relay.reporting(progress.activities.clone());
        let consumer = Consumer {
            service: self.name,
            queues: self.queues.clone(),
            store: self.store.clone(),
            ledger: ledger.clone(),
            outbox: outbox.clone(),
            ladder: tuning.ladder.clone(),
            kept: tuning.kept,
            world: world.clone(),
            batch_max: tuning.batch_max,
            progress: progress.clone(),
        };
        let line = Line {
            broker,
            topology: Topology::of(self.name, &self.hears(), &tuning.ladder)
                .with(tuning.queue_type),
            consumer: Arc::new(consumer),
            relay: Arc::new(relay),
            world: world.clone(),
            progress,
        };
        (line, outbox)
    }
}

async fn repeat(period: Duration, what: &'static str, job: Job, context: Context) {
    loop {
        tokio::select! {
            biased;
            () = context.stop.cancelled() => return,
            () = tokio::time::sleep(period) => {}
        }
        let busy = context.health.activities.begin_job(what);
        let done = job(context.clone()).await;
        drop(busy);
        if let Err(why) = done {
            tracing::warn!(job = what, "{what}: failed, and is tried again later: {why:#}");
        }
    }
}
