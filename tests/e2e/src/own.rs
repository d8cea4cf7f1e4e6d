//! Servers of a test's own, to be stopped and killed.

use servers::{Lifetime, Postgres, PostgresConfig, RabbitConfig, RabbitMq, Watchdog, ports};
use std::{path::Path, sync::Arc};

pub async fn rabbitmq(folder: &Path, watchdog: &Arc<Watchdog>) -> anyhow::Result<RabbitMq> {
    RabbitMq::start(RabbitConfig {
        dir: folder.join("rabbitmq"),
        port: ports::free()?,
        management_port: ports::free()?,
        user: "admin".into(),
        password: "admin".into(),
        definitions: Vec::new(),
        lifetime: Lifetime::Bound(watchdog.clone()),
    })
    .await
}

pub async fn postgres(folder: &Path, watchdog: &Arc<Watchdog>) -> anyhow::Result<Postgres> {
    Postgres::start(PostgresConfig {
        dir: folder.join("postgres"),
        port: ports::free()?,
        database: "postgres".into(),
        user: "postgres".into(),
        password: "postgres".into(),
        superuser_password: "postgres".into(),
        lifetime: Lifetime::Bound(watchdog.clone()),
    })
    .await
}
