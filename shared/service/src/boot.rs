//! Boots in order: database, migrations, broker, topology, consumers, HTTP; shuts down in reverse.

use crate::{Clock, Common, Context, Health, Http, Service, Tuning, Worker, http, sampling};
use anyhow::Context as _;
use database::{Limits, PgPool, Transaction};
use messaging::{
    Broker, ConsumerState, Env, PgMessageStore, RabbitMq, Retention, Retry, Store, SystemEnv,
    partitions,
};
use std::{path::PathBuf, sync::Arc, time::Duration};
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
/// How long HTTP waits for the broker before it opens without.
const BROKER_GRACE: Duration = Duration::from_secs(2);

/// A service's environment, in production or in a test.
pub struct Running {
    pub pool: PgPool,
    pub broker: Arc<dyn Broker>,
    /// The machine's clock and randomness; decisions use the database's clock.
    pub env: Arc<dyn Env>,
    pub tuning: Tuning,
    pub health_file: PathBuf,
    pub stop: CancellationToken,
}

pub async fn run<S: Store<Tx = Transaction>>(
    service: Service<S>,
    common: &Common,
) -> anyhow::Result<()> {
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
    let rabbit = RabbitMq::new(&common.amqp_url()?, prefetch).map_err(|why| {
        anyhow::anyhow!("AMQP_URL is not a valid AMQP address ({why}); {example}")
    })?;
    let surroundings = Running {
        pool: pool(&service, common)?,
        broker: Arc::new(rabbit),
        env: SystemEnv::shared(),
        tuning,
        health_file: common.health_file(service.name),
        stop: stop_on_signal()?,
    };
    service.run(surroundings).await
}

pub async fn migrate<S: Store>(service: &Service<S>, common: &Common) -> anyhow::Result<()> {
    service.migrate(&pool(service, common)?).await
}

fn pool<S: Store>(service: &Service<S>, common: &Common) -> anyhow::Result<PgPool> {
    let name = format!("{}-service", service.name);
    let limits = Limits::new(common.database_deadline);
    PgPool::new(&common.database_url()?, &name, common.database_connections, limits).context(
        "DATABASE_URL is not a valid Postgres address; an example: \
         DATABASE_URL=postgres://orders:orders@127.0.0.1:5433/orders",
    )
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

impl<S: Store> Service<S> {
    /// Applies both sets of migrations, once, and creates the inbox partitions of the days to come.
    pub async fn migrate(&self, pool: &PgPool) -> anyhow::Result<()> {
        database::migrate(pool, "messaging_schema_history", &messaging::migrations()).await?;
        partitions::make(pool).await?;
        database::migrate(pool, "schema_history", &self.migrations).await
    }

    /// Waits for the database as long as that can help, and uses its clock from then on.
    async fn migrate_patiently(&self, around: &Running) -> anyhow::Result<Clock> {
        let mut retry = Retry::new(around.env.clone());
        let clock = Clock::new(around.env.clone());
        loop {
            let ready = async {
                self.migrate(&around.pool).await?;
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
}

impl<S: Store<Tx = Transaction>> Service<S> {
    /// Serves until the service is stopped.
    pub async fn run(self, around: Running) -> anyhow::Result<()> {
        // A file that an earlier process left is no longer true.
        let _ = std::fs::remove_file(&around.health_file);
        let clock = match self.migrate_patiently(&around).await {
            Ok(clock) => Arc::new(clock),
            Err(_) if around.stop.is_cancelled() => return Ok(()),
            Err(why) => return Err(why),
        };
        let env: Arc<dyn Env> = clock.clone();
        let Running { pool, broker, tuning, health_file, stop, .. } = around;
        let message_store = PgMessageStore::new(pool);
        let (supervisor, outbox) = self.supervisor(broker.clone(), &message_store, &env, &tuning);
        let health = Arc::new(Health::of(&supervisor.progress, message_store.pool.limits()));
        let (consumers_stopped, said) = (CancellationToken::new(), CancellationToken::new());
        let context = Context {
            message_store,
            outbox,
            env,
            health,
            broker,
            schedule: tuning.schedule,
            retention: tuning.retention,
            batch_max: tuning.batch_max,
            stop: stop.clone(),
            consumers_stopped: consumers_stopped.clone(),
        };

        let mut standing = supervisor.progress.subscribe();
        let (mut tasks, mut relay) = (Tasks::new(), Tasks::new());
        relay.spawn({
            let (stop, said) = (stop.clone(), said.clone());
            async move {
                supervisor.run_until_published(&stop, &consumers_stopped, &said).await?;
                Ok(())
            }
        });
        spawn_workers(&mut tasks, self.workers, &context);
        tasks.spawn({
            let context = context.clone();
            async move {
                let Context { health, message_store, stop, .. } = &context;
                health.report_until_stopped(&message_store.pool, &clock, health_file, stop).await;
                Ok(())
            }
        });
        let looking = sampling::run(self.samples, context.clone());
        tasks.spawn(async move {
            looking.await;
            Ok(())
        });
        if let Some(Http { listen, routes }) = self.http {
            let _ =
                timeout(BROKER_GRACE, standing.wait_for(|now| *now != ConsumerState::Away)).await;
            let server = http::Server::bind(listen).await?;
            tasks.spawn(server.run(routes(context.clone()), stop.clone()));
        }
        tracing::info!("{} runs", self.name);
        let ended = tokio::select! {
            ended = first_failure(&mut relay, &stop) => ended,
            ended = first_failure(&mut tasks, &stop) => ended,
        };
        let until = Instant::now() + SHUTDOWN_MAX;
        let finished = timeout_at(until - LAST_WORDS_MAX, drain(&mut tasks)).await;
        said.cancel();
        let published = timeout_at(until, drain(&mut relay)).await;
        let all = finished.and(published);
        anyhow::ensure!(all.is_ok(), "shutdown timed out with work in progress");
        tracing::info!("{} has stopped", self.name);
        ended
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
