//! Runs a service over any broker and any message store, as `service::Service::run` does over
//! RabbitMQ and Postgres.

use messaging::{Broker, Env, MessageStore, Store};
use service::{Context, Health, Publishing, Service, Tuning};
use std::{sync::Arc, time::Duration};
use tokio::{task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;

/// State that ends with a process.
pub struct Process {
    pub tasks: JoinSet<()>,
    /// Ends last.
    pub supervisor: JoinSet<()>,
    pub stop: CancellationToken,
    pub said: CancellationToken,
    pub ended: CancellationToken,
}

impl Process {
    pub fn start<S, L>(
        service: &Service<S>,
        message_store: &L,
        broker: Arc<dyn Broker>,
        env: Arc<dyn Env>,
        tuning: Tuning,
    ) -> (Self, Context<L>)
    where
        S: Store,
        L: MessageStore<Tx = S::Tx>,
    {
        let publishing = Publishing::new(message_store, &env, &tuning);
        let supervisor =
            service.supervisor(broker.clone(), message_store, &publishing, &env, &tuning);
        let Publishing { outbox, progress, .. } = publishing;
        let health = Arc::new(Health::new(progress.subscribe()));
        let stop = CancellationToken::new();
        let (consumers_stopped, said) = (CancellationToken::new(), CancellationToken::new());
        let context = Context {
            message_store: message_store.clone(),
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
        let mut process = Self {
            tasks: JoinSet::new(),
            supervisor: JoinSet::new(),
            stop: stop.clone(),
            said: said.clone(),
            ended: CancellationToken::new(),
        };
        process.supervisor.spawn(async move {
            let ended = supervisor.run(&stop, &consumers_stopped, &said).await;
            ended.expect("the broker is there or away");
        });
        (process, context)
    }

    /// Runs a job as `service::Service::every` does.
    pub fn every<L: Clone + Send + Sync + 'static, F: Future<Output = bool> + Send + 'static>(
        &mut self,
        period: Duration,
        context: Context<L>,
        job: impl Fn(Context<L>) -> F + Send + 'static,
    ) {
        self.tasks.spawn(async move {
            while !context.stop.is_cancelled() {
                tokio::select! {
                    biased;
                    () = context.stop.cancelled() => {}
                    () = sleep(period) => drop(job(context.clone()).await),
                }
            }
        });
    }

    /// Ends it as `kill -9` does: in the middle of whatever it does.
    pub async fn kill(mut self) {
        self.ended.cancel();
        self.tasks.shutdown().await;
        self.supervisor.shutdown().await;
    }
}
