//! Makes what a service runs on, for its tests.

use crate::{Context, Health, Publishing, Running, Tuning};
use database::{Limits, PgPool};
use messaging::{Broker, ConsumerState, Env, MemoryBroker, PgMessageStore, Retention, SystemEnv};
use std::{path::PathBuf, sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

const BOUND: Duration = Duration::from_secs(20);

/// On this database and a broker in memory, as if everything was handled. Nothing is published.
pub fn context(pool: PgPool) -> Context {
    let (message_store, env): (_, Arc<dyn Env>) = (PgMessageStore::new(pool), SystemEnv::shared());
    let (tuning, broker) = (Tuning::default(), Arc::new(MemoryBroker::default()));
    let publishing = Publishing::new(&message_store, &env, &tuning);
    let (limits, stop) = (Limits::DEFAULT, CancellationToken::new());
    let mut context = Context::new(message_store, &publishing, broker, env, tuning, limits, stop);
    context.health = Arc::new(Health::new(watch::channel(ConsumerState::CaughtUp).1));
    context
}

/// On this database and broker, until it is stopped.
pub fn running(
    pool: &PgPool,
    broker: impl Broker,
    health_file: PathBuf,
    stop: &CancellationToken,
) -> Running {
    Running {
        pool: pool.clone(),
        history: Retention::days(7),
        broker: Arc::new(broker),
        env: SystemEnv::shared(),
        tuning: Tuning::default(),
        health_file,
        stop: stop.clone(),
    }
}

/// Waits until it is so.
pub async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let waiting = timeout(BOUND, async {
        while !is_so().await {
            sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(waiting.await.is_ok(), "within {} s: {what}", BOUND.as_secs());
}
