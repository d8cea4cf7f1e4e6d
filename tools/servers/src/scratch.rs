//! Starts temporary servers that are deleted with their owner: on free ports, with known passwords.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;

use crate::{
    Certificates, Lifetime, Postgres, PostgresConfig, RabbitConfig, RabbitMq, Watchdog, ports,
};

pub async fn postgres(dir: &Path, watchdog: &Arc<Watchdog>) -> Result<Postgres> {
    postgres_with(dir, watchdog, None).await
}

/// With these certificates, it takes only encrypted connections.
pub async fn postgres_with(
    dir: &Path,
    watchdog: &Arc<Watchdog>,
    tls: Option<&Certificates>,
) -> Result<Postgres> {
    Postgres::start(PostgresConfig {
        dir: dir.join("postgres"),
        port: ports::free()?,
        database: "postgres".into(),
        user: "postgres".into(),
        password: "postgres".into(),
        superuser_password: "postgres".into(),
        replication: None,
        tls: tls.cloned(),
        lifetime: Lifetime::Bound(Arc::clone(watchdog)),
    })
    .await
}

/// `root` is the directory to take RabbitMQ from, if not from the machine.
pub async fn rabbitmq(
    dir: &Path,
    watchdog: &Arc<Watchdog>,
    root: Option<PathBuf>,
) -> Result<RabbitMq> {
    rabbitmq_with(dir, watchdog, root, None).await
}

/// With these certificates, it takes only encrypted connections.
pub async fn rabbitmq_with(
    dir: &Path,
    watchdog: &Arc<Watchdog>,
    root: Option<PathBuf>,
    tls: Option<&Certificates>,
) -> Result<RabbitMq> {
    RabbitMq::start(RabbitConfig {
        dir: dir.join("rabbitmq"),
        port: ports::free()?,
        management_port: ports::free()?,
        metrics_port: None,
        user: "admin".into(),
        password: "admin".into(),
        definitions: Vec::new(),
        root,
        cluster: None,
        tls: tls.cloned(),
        lifetime: Lifetime::Bound(Arc::clone(watchdog)),
    })
    .await
}

/// The URL with user and password.
pub fn management_url(rabbitmq: &RabbitMq) -> String {
    rabbitmq.management_url().replace("http://", "http://admin:admin@")
}
