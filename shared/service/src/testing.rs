//! Makes a context for the tests of a service.

use crate::{Context, Health};
use database::PgPool;
use messaging::{ConsumerState, MemoryBroker, PgMessageStore, Relay, RetrySchedule, SystemEnv};
use std::sync::Arc;
use tokio::sync::watch;

/// On this database and a broker in memory, as if everything was handled. Nothing is published.
pub fn context(pool: PgPool) -> Context {
    let (message_store, env) = (PgMessageStore::new(pool), SystemEnv::shared());
    let (outbox, _) = Relay::new(message_store.clone(), env.clone(), 100, 1 << 20);
    let health = Arc::new(Health::new(watch::channel(ConsumerState::CaughtUp).1));
    let (broker, schedule) = (Arc::new(MemoryBroker::default()), RetrySchedule::default());
    let (retention, stop, consumers_stopped) = Default::default();
    Context {
        message_store,
        outbox,
        env,
        health,
        broker,
        schedule,
        retention,
        batch_max: 100,
        stop,
        consumers_stopped,
    }
}
