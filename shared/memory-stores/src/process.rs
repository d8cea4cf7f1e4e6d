//! Runs a service over any broker and any message store, as `service::Service::run` does over
//! RabbitMQ and Postgres.

use database::Limits;
use messaging::{Broker, Env, MessageStore, Store};
use service::{Context, Publishing, Service, Tuning};
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
        let (message_store, queue_type) = (message_store.clone(), tuning.queue_type);
        let (stop, said) = (CancellationToken::new(), CancellationToken::new());
        let limits = Limits::DEFAULT;
        let context =
            Context::new(message_store, &publishing, broker, env, tuning, limits, stop.clone());
        let supervisor = service.supervisor(&context, &publishing, queue_type);
        let consumers_stopped = context.consumers_stopped.clone();
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
