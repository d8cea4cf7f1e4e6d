//! Servers of a test's own, to be stopped and killed.

use servers::{Lifetime, Postgres, PostgresConfig, RabbitConfig, RabbitMq, Watchdog, ports};
use std::{
    env,
    path::{Path, PathBuf},
    sync::Arc,
};

/// `root` is where it is taken from, if not from the machine.
pub async fn rabbitmq(
    folder: &Path,
    watchdog: &Arc<Watchdog>,
    root: Option<PathBuf>,
) -> anyhow::Result<RabbitMq> {
    RabbitMq::start(RabbitConfig {
        dir: folder.join("rabbitmq"),
        port: ports::free()?,
        management_port: ports::free()?,
        user: "admin".into(),
        password: "admin".into(),
        definitions: Vec::new(),
        root,
        lifetime: Lifetime::Bound(watchdog.clone()),
    })
    .await
}

/// Where the test set-up takes RabbitMQ from.
pub fn given_root() -> Option<PathBuf> {
    env::var_os("TEST_RABBITMQ_ROOT").map(Into::into)
}

/// With user and password.
pub fn management_url(rabbit: &RabbitMq) -> String {
    rabbit.management_url().replace("http://", "http://admin:admin@")
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
