#![doc = include_str!("../README.md")]

mod boot;
mod clock;
mod command;
mod health;
pub mod http;
mod keys;
mod sampling;
mod settings;
#[cfg(feature = "testing")]
pub mod testing;

use axum::Router;
use database::Limits;
use events::Event;
use futures::future::BoxFuture;
use http::Listen;
use messaging::{
    Broker, Committer, Consumer, Env, MessageStore, Outbox, PgMessageStore, Progress, Queue,
    QueueType, Relay, Retention, Retry, RetrySchedule, SessionSupervisor, SessionTask, Store,
    Topology,
};
use reaction::On;
use refinery_core::Migration;
use sampling::Sample;
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

pub use boot::{DRAIN_MAX, Running};
pub use clock::Clock;
pub use command::main;
pub use health::Health;
pub use messaging::parse_duration;
pub use sampling::seconds_since;
pub use secret::Secret;
pub use settings::Common;

/// For all four services: twice as fast as the C library's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pub struct Service<S: Store> {
    name: &'static str,
    store: Arc<S>,
    pub queues: Vec<Queue<S::State>>,
    chassis: Chassis,
}

/// What does not depend on the service's state.
#[derive(Default)]
struct Chassis {
    schema: Schema,
    refusal: Option<anyhow::Error>,
    workers: Vec<Worker>,
    samples: Vec<Sample>,
    http: Option<Http>,
}

#[derive(Default)]
struct Schema {
    migrations: Vec<Migration>,
    /// Executed after them.
    preparation: Option<&'static str>,
}

/// The context of jobs, workers and routes.
#[derive(Clone)]
pub struct Context<L = PgMessageStore> {
    pub message_store: L,
    pub outbox: Outbox,
    pub env: Arc<dyn Env>,
    pub health: Arc<Health>,
    /// For inspection: events are published by the outbox.
    pub broker: Arc<dyn Broker>,
    pub schedule: RetrySchedule,
    pub retention: Retention,
    /// Rows in one transaction, at most.
    pub batch_max: usize,
    /// Cancelled when the service stops.
    pub stop: CancellationToken,
    /// Cancelled after that, once no message is handled any more.
    pub consumers_stopped: CancellationToken,
}

impl<L> Context<L> {
    pub fn new(
        message_store: L,
        publishing: &Publishing,
        broker: Arc<dyn Broker>,
        env: Arc<dyn Env>,
        tuning: Tuning,
        limits: Limits,
        stop: CancellationToken,
    ) -> Self {
        let Tuning { schedule, retention, batch_max, .. } = tuning;
        Self {
            message_store,
            outbox: publishing.outbox.clone(),
            env,
            health: Arc::new(Health::of(&publishing.progress, limits)),
            broker,
            schedule,
            retention,
            batch_max,
            stop,
            consumers_stopped: CancellationToken::new(),
        }
    }

    /// The same with another message store, or none.
    pub fn with<M>(self, message_store: M) -> Context<M> {
        let Self { outbox, env, health, broker, schedule, retention, batch_max, .. } = self;
        let (stop, consumers_stopped) = (self.stop, self.consumers_stopped);
        Context {
            message_store,
            outbox,
            env,
            health,
            broker,
            schedule,
            retention,
            batch_max,
            stop,
            consumers_stopped,
        }
    }

    /// Commits work beside the consumer's messages.
    pub fn committer<'a, S>(&'a self, store: &'a S) -> Committer<'a, S, L> {
        let Self { message_store, outbox, env, .. } = self;
        Committer { store, message_store, outbox, env: &**env }
    }
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

/// The settings of a broker session.
#[derive(Clone, Debug)]
pub struct Tuning {
    pub schedule: RetrySchedule,
    pub retention: Retention,
    pub queue_type: QueueType,
    pub batch_max: usize,
    /// Maximum of bytes waiting to be published; the outbox has them all.
    pub outbox_memory: usize,
}

/// As the services' own settings have them by default.
impl Default for Tuning {
    fn default() -> Self {
        Self {
            schedule: RetrySchedule::default(),
            retention: Retention::default(),
            queue_type: QueueType::default(),
            batch_max: 128,
            outbox_memory: 4 << 20,
        }
    }
}

impl<S: Store> Service<S> {
    pub fn new(name: &'static str, store: S) -> Self {
        Self { name, store: Arc::new(store), queues: Vec::new(), chassis: Chassis::standard() }
    }

    /// Applied at boot, after the tables that every service has.
    #[must_use]
    pub fn migrations(mut self, migrations: Vec<Migration>) -> Self {
        self.chassis.schema.migrations = migrations;
        self
    }

    /// Executed after the migrations, at every start: an idempotent statement.
    #[must_use]
    pub fn preparation(mut self, statement: &'static str) -> Self {
        self.chassis.schema.preparation = Some(statement);
        self
    }

    /// Refuses to run for this reason. It migrates all the same.
    #[must_use]
    pub fn refusing(mut self, reason: anyhow::Error) -> Self {
        self.chassis.refusal = Some(reason);
        self
    }

    pub fn refusal(&self) -> Option<&anyhow::Error> {
        self.chassis.refusal.as_ref()
    }

    /// Consumes `E`, in a queue of its own.
    #[must_use]
    pub fn on<E: Event>(mut self) -> Self
    where
        S::State: On<E> + 'static,
    {
        self.queues.push(Queue::of::<E>(self.name));
        self
    }

    /// Repeats a job; each run after the last has ended.
    #[must_use]
    pub fn every<F>(
        mut self,
        period: Duration,
        what: &'static str,
        job: impl Fn(Context) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        self.chassis.every(period, what, Arc::new(move |context| Box::pin(job(context))));
        self
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
        let work = Box::new(|context| -> BoxFuture<'static, ()> { Box::pin(work(context)) });
        self.chassis.workers.push(Worker { what, work });
        self
    }

    /// Samples something periodically to set gauges, if metrics are read.
    #[must_use]
    pub fn samples<F>(mut self, look: impl Fn(Context) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        self.chassis.samples.push(Arc::new(move |context| Box::pin(look(context))));
        self
    }

    #[must_use]
    pub fn http(
        mut self,
        listen: Listen,
        routes: impl FnOnce(Context) -> Router + Send + 'static,
    ) -> Self {
        self.chassis.http = Some(Http { listen, routes: Box::new(routes) });
        self
    }

    /// The events it consumes, in the order of their registration.
    pub fn hears(&self) -> Vec<&'static str> {
        self.queues.iter().map(|queue| queue.event).collect()
    }

    /// Its reactions on any broker and any message store.
    pub fn supervisor<L: MessageStore<Tx = S::Tx>>(
        &self,
        context: &Context<L>,
        publishing: &Publishing,
        queue_type: QueueType,
    ) -> SessionSupervisor {
        let Context { broker, message_store, outbox, schedule, env, .. } = context;
        let Publishing { relay, progress, .. } = publishing;
        let consumer = Consumer {
            service: self.name,
            queues: self.queues.clone(),
            store: self.store.clone(),
            message_store: message_store.clone(),
            outbox: outbox.clone(),
            schedule: schedule.clone(),
            retention: context.retention,
            env: env.clone(),
            batch_max: context.batch_max,
            progress: progress.clone(),
        };
        SessionSupervisor {
            broker: broker.clone(),
            topology: Topology::of(self.name, &self.hears(), schedule).with(queue_type),
            consumer: Arc::new(consumer),
            relay: relay.clone(),
            env: env.clone(),
            progress: progress.clone(),
        }
    }
}

/// The outbox of a message store, the relay that publishes it, and where both report.
pub struct Publishing {
    outbox: Outbox,
    relay: Arc<dyn SessionTask>,
    progress: Arc<Progress>,
}

impl Publishing {
    pub fn new<L: MessageStore>(message_store: &L, env: &Arc<dyn Env>, tuning: &Tuning) -> Self {
        let progress = Progress::new();
        let (outbox, relay) =
            Relay::new(message_store.clone(), env.clone(), tuning.batch_max, tuning.outbox_memory);
        let relay = Arc::new(relay.reporting(progress.activities.clone()));
        Self { outbox, relay, progress }
    }
}

impl Chassis {
    fn standard() -> Self {
        let mut standard = Self::default();
        standard.samples.push(Arc::new(|context| Box::pin(sampling::outbox(context))));
        let tend: Job = Arc::new(|context| Box::pin(keys::tend(context)));
        standard.every(keys::PERIOD, "keep idempotency keys bounded", tend);
        standard
    }

    fn every(&mut self, period: Duration, what: &'static str, job: Job) {
        let work = move |context| -> BoxFuture<'static, ()> {
            Box::pin(repeat(period, what, job, context))
        };
        self.workers.push(Worker { what, work: Box::new(work) });
    }
}

async fn repeat(period: Duration, what: &'static str, job: Job, context: Context) {
    let mut retry = Retry::new(context.env.clone());
    loop {
        tokio::select! {
            biased;
            () = context.stop.cancelled() => return,
            () = tokio::time::sleep(period) => {}
        }
        let busy = context.health.activities.begin_job(what);
        let done = job(context.clone()).await;
        drop(busy);
        match done {
            Ok(()) => retry.succeeded(&format!("{what}: works again")),
            Err(why) => retry.failed(&format!("{what}: failed: {why:#}")),
        }
    }
}
