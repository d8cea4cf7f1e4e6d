//! Boots in order: database, migrations, broker, topology, consumers, HTTP; shuts down in reverse.

use crate::{
    Chassis, Clock, Common, Context, Http, Publishing, Schema, Service, Tuning, Worker, http,
    sampling,
};
use anyhow::Context as _;
use database::{Limits, PgPool, Transaction};
use futures::{FutureExt, future::BoxFuture};
use messaging::{
    Broker, ConsumerState, Env, PgMessageStore, QueueType, RabbitMq, Retention, Retry,
    SessionSupervisor, Store, SystemEnv,
    partitions::{HISTORY, INBOX},
};
use std::{mem::take, path::PathBuf, sync::Arc, time::Duration};
use tokio::{
    signal::unix,
    task::JoinSet,
    time::{Instant, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

/// Docker and Kubernetes give ten seconds at least.
const SHUTDOWN_MAX: Duration = Duration::from_secs(9);
/// The last part of it, for the relay to publish the events of HTTP and the workers.
const LAST_WORDS_MAX: Duration = Duration::from_secs(2);
/// What HTTP and the workers have of it: a call that lasts longer is cut off.
pub const DRAIN_MAX: Duration = SHUTDOWN_MAX.saturating_sub(LAST_WORDS_MAX);
/// How long HTTP waits for the broker before it opens without.
const BROKER_GRACE: Duration = Duration::from_secs(2);

/// A service's environment, in production or in a test.
pub struct Running {
    pub pool: PgPool,
    /// How long published events are kept.
    pub history: Retention,
    pub broker: Arc<dyn Broker>,
    /// The machine's clock and randomness; decisions use the database's clock.
    pub env: Arc<dyn Env>,
    pub tuning: Tuning,
    pub health_file: PathBuf,
    pub stop: CancellationToken,
}

/// A service about to boot. Its state is erased, since generic functions would be compiled again in
/// each of the four binaries.
pub struct Boot {
    pub name: &'static str,
    chassis: Chassis,
    supervise: Supervise,
}

type Supervise = Box<dyn FnOnce(&Context, &Publishing, QueueType) -> SessionSupervisor + Send>;

impl<S: Store<Tx = Transaction>> Service<S> {
    /// Serves until the service is stopped.
    pub fn run(self, around: Running) -> BoxFuture<'static, anyhow::Result<()>> {
        Boot::from(self).serve(around).boxed()
    }
}

impl<S: Store> Service<S> {
    pub fn migrate<'a>(&'a self, pool: &'a PgPool) -> BoxFuture<'a, anyhow::Result<()>> {
        migrate(&self.chassis.schema, pool).boxed()
    }
}

impl<S: Store<Tx = Transaction>> From<Service<S>> for Boot {
    fn from(mut service: Service<S>) -> Self {
        let (name, chassis) = (service.name, take(&mut service.chassis));
        let supervise = move |context: &Context, publishing: &Publishing, queue_type| {
            service.supervisor(context, publishing, queue_type)
        };
        Self { name, chassis, supervise: Box::new(supervise) }
    }
}

fn stop_on_signal() -> anyhow::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let (mut terminate, mut interrupt) = (
        unix::signal(unix::SignalKind::terminate())?,
        unix::signal(unix::SignalKind::interrupt())?,
    );
    let signalled = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("shutting down: finishing work in progress");
        signalled.cancel();
    });
    Ok(stop)
}

impl Boot {
    /// Runs the service with the settings of its command line.
    pub async fn run(self, common: &Common) -> anyhow::Result<()> {
        let tuning = Tuning {
            schedule: common.retry_delays.clone(),
            retention: Retention::days(common.keep_days),
            queue_type: common.queue_type,
            batch_max: common.batch_max.into(),
            outbox_memory: common.outbox_memory,
        };
        // The next batches wait here while one is being handled.
        let prefetch = common.batch_max.saturating_mul(4);
        let example = "an example: AMQP_URL=amqp://admin:admin@127.0.0.1:5672/%2f";
        let rabbit = RabbitMq::new(common.amqp_url()?, prefetch).map_err(|why| {
            anyhow::anyhow!("AMQP_URL is not a valid AMQP address ({why}); {example}")
        })?;
        let surroundings = Running {
            pool: self.pool(common)?,
            history: common.history()?,
            broker: Arc::new(rabbit),
            env: SystemEnv::shared(),
            tuning,
            health_file: common.health_file(self.name),
            stop: stop_on_signal()?,
        };
        self.serve(surroundings).await
    }

    pub async fn migrate(&self, common: &Common) -> anyhow::Result<()> {
        migrate(&self.chassis.schema, &self.pool(common)?).await
    }

    pub fn page(&self) -> bool {
        self.chassis.http.is_some()
    }

    /// Its connections have a name of this process's own: other copies see by it who is connected.
    fn pool(&self, common: &Common) -> anyhow::Result<PgPool> {
        let name = format!("{}-service {:08x}", self.name, SystemEnv.random() >> 32);
        let limits = Limits::new(common.database_deadline);
        PgPool::new(common.database_url()?, &name, common.database_connections, limits).context(
            "DATABASE_URL is not a valid Postgres address; an example: \
             DATABASE_URL=postgres://user:password@127.0.0.1:5432/database",
        )
    }

    async fn serve(mut self, around: Running) -> anyhow::Result<()> {
        if let Some(reason) = self.chassis.refusal.take() {
            return Err(reason);
        }
        if let Some(http) = &self.chassis.http {
            http.listen.check()?;
        }
        // A file that an earlier process left is no longer true.
        let _ = std::fs::remove_file(&around.health_file);
        let Self { name, chassis, supervise } = self;
        let clock = match migrate_patiently(&chassis.schema, &around).await {
            Ok(clock) => Arc::new(clock),
            Err(_) if around.stop.is_cancelled() => return Ok(()),
            Err(why) => return Err(why),
        };
        let env: Arc<dyn Env> = clock.clone();
        let Running { pool, history, broker, tuning, health_file, stop, .. } = around;
        let message_store = PgMessageStore::new(pool).keeping(history);
        let publishing = Publishing::new(&message_store, &env, &tuning);
        let (limits, queue_type) = (message_store.pool.limits(), tuning.queue_type);
        let context =
            Context::new(message_store, &publishing, broker, env, tuning, limits, stop.clone());
        let supervisor = supervise(&context, &publishing, queue_type);
        let (consumers_stopped, said) =
            (context.consumers_stopped.clone(), CancellationToken::new());

        let mut standing = supervisor.progress.subscribe();
        let (mut tasks, mut relay) = (Tasks::new(), Tasks::new());
        relay.spawn({
            let (stop, said) = (stop.clone(), said.clone());
            async move {
                supervisor.run(&stop, &consumers_stopped, &said).await?;
                Ok(())
            }
        });
        spawn_workers(&mut tasks, chassis.workers, &context);
        tasks.spawn({
            let context = context.clone();
            async move {
                let Context { health, message_store, stop, .. } = &context;
                health.report_until_stopped(&message_store.pool, &clock, health_file, stop).await;
                Ok(())
            }
        });
        let looking = sampling::run(chassis.samples, context.clone());
        tasks.spawn(async move {
            looking.await;
            Ok(())
        });
        if let Some(Http { listen, routes }) = chassis.http {
            let _ =
                timeout(BROKER_GRACE, standing.wait_for(|now| *now != ConsumerState::Away)).await;
            let server = http::Server::bind(listen).await?;
            tasks.spawn(server.run(routes(context.clone()), stop.clone()));
        }
        tracing::info!("{name} runs");
        let ended = tokio::select! {
            ended = first_failure(&mut relay, &stop) => ended,
            ended = first_failure(&mut tasks, &stop) => ended,
        };
        let until = Instant::now() + SHUTDOWN_MAX;
        let finished = timeout(DRAIN_MAX, drain(&mut tasks)).await;
        said.cancel();
        let published = timeout_at(until, drain(&mut relay)).await;
        let all = finished.and(published);
        anyhow::ensure!(all.is_ok(), "shutdown timed out with work in progress");
        tracing::info!("{name} has stopped");
        ended
    }
}

/// Applies both sets of migrations, once, and creates the partitions of the days to come.
async fn migrate(schema: &Schema, pool: &PgPool) -> anyhow::Result<()> {
    database::migrate(pool, "messaging_schema_history", &messaging::migrations()).await?;
    INBOX.make(pool).await?;
    HISTORY.make(pool).await?;
    database::migrate(pool, "schema_history", &schema.migrations).await?;
    if let Some(statement) = schema.preparation {
        let session = pool.statement().await?;
        session.query(statement).done().await?;
    }
    Ok(())
}

/// Waits for the database as long as that can help, and uses its clock from then on.
async fn migrate_patiently(schema: &Schema, around: &Running) -> anyhow::Result<Clock> {
    let mut retry = Retry::new(around.env.clone());
    let clock = Clock::new(around.env.clone());
    loop {
        let ready = async {
            migrate(schema, &around.pool).await?;
            Ok(clock.look(&around.pool).await?)
        };
        let why: anyhow::Error = match ready.await {
            Ok(()) => return Ok(clock),
            Err(why) => why,
        };
        if let Some(advice) = database::hopeless(&why) {
            return Err(why.context(advice));
        }
        retry.failed(&format!("the database is not ready: {why:#}"));
        if !retry.wait(&around.stop).await {
            return Err(why);
        }
    }
}

type Tasks = JoinSet<anyhow::Result<()>>;

fn spawn_workers(tasks: &mut Tasks, workers: Vec<Worker>, context: &Context) {
    for Worker { what, work } in workers {
        let work = work(context.clone());
        tasks.spawn(async move {
            work.await;
            tracing::debug!(worker = what, "{what}: ended");
            Ok(())
        });
    }
}

/// Waits for the end; a task that fails or panics ends all the others.
async fn first_failure(tasks: &mut Tasks, stop: &CancellationToken) -> anyhow::Result<()> {
    loop {
        let ended = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            ended = tasks.join_next() => ended,
        };
        match ended {
            None => return Ok(()),
            Some(Ok(Ok(()))) => {}
            Some(failed) => {
                stop.cancel();
                return failed?;
            }
        }
    }
}

async fn drain(tasks: &mut Tasks) {
    while let Some(ended) = tasks.join_next().await {
        if let Ok(Err(why)) = ended {
            tracing::warn!("while stopping: {why:#}");
        }
    }
}
