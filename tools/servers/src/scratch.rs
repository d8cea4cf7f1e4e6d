//! Starts temporary servers that are deleted with their owner: on free ports, with known passwords.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;

use crate::{
    Certificates, Lifetime, Postgres, PostgresConfig, RabbitConfig, RabbitMq, Watchdog, ports,
};

/// A crash of the machine may take the data; a crash of the server does not. There are hundreds of
/// databases that live for seconds, so that vacuum would do little but visit them. The password is
/// still `postgres`, but hashed once, which at each login takes a debug build 20 ms less than the
/// usual 4096 times.
const CHEAPER: &str = "\
ALTER SYSTEM SET fsync = off;
ALTER SYSTEM SET wal_compression = off;
ALTER SYSTEM SET autovacuum = off;
SELECT pg_reload_conf();
ALTER ROLE postgres PASSWORD 'SCRAM-SHA-256$1:cXVhZHJpbGxlLXRlc3RzIQ=='
  '$lA1w3ejQKuNdy+go9p0H/3sC1RhnVHsA4lxyguI8M0M='
  ':gt6A93Eg1OQA4S0ng+Ok7HRMyk/mes1/8bRtzGiQrh0=';";

/// With certificates, it takes only encrypted connections.
pub async fn postgres(
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

/// Makes a server for tests cheaper, one that many databases are made on.
pub async fn make_cheaper(server: &Postgres) -> Result<()> {
    server.sql(CHEAPER).await.map(drop)
}

/// `root` is the directory to take RabbitMQ from, if not from the machine. With certificates, it
/// takes only encrypted connections.
pub async fn rabbitmq(
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
