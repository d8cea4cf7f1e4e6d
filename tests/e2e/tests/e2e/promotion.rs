//! A failover from a Postgres to its standby, as the services' pool sees it; and the old primary's
//! return.

use database::{Limits, PgPool};
use e2e::{scratch_folder, until};
use servers::{Lifetime, Postgres, PostgresConfig, Replication, Watchdog, ports};
use std::{path::Path, sync::Arc, time::Duration};

const LIMITS: Limits = Limits::new(Duration::from_secs(20));

fn server(folder: &Path, name: &str, watchdog: &Arc<Watchdog>) -> PostgresConfig {
    PostgresConfig {
        dir: folder.join(name),
        port: ports::free().expect("a free port"),
        database: "orders".into(),
        user: "orders".into(),
        password: "orders".into(),
        superuser_password: "postgres".into(),
        replication: Some(Replication::Primary),
        tls: None,
        lifetime: Lifetime::Bound(watchdog.clone()),
    }
}

async fn write(pool: &PgPool, number: i32) -> Result<(), sqlx::Error> {
    let tx = pool.begin().await?;
    tx.query("INSERT INTO notes VALUES ($1)").bind(number).run();
    tx.commit().await
}

async fn count(server: &Postgres) -> i64 {
    let url = format!("{}?target_session_attrs=any", server.url());
    let pool = PgPool::new(&url, "test", 2, LIMITS);
    let count = sqlx::query_scalar("SELECT count(*) FROM notes").fetch_one(&pool.unwrap()).await;
    count.expect("it can be read")
}

#[tokio::test]
async fn a_pool_follows_the_promotion_and_never_writes_to_the_old_primary() {
    let (folder, watchdog) = scratch_folder();
    let (one, other) = (server(&folder, "one", &watchdog), server(&folder, "other", &watchdog));
    let hosts = format!("127.0.0.1:{},127.0.0.1:{}", one.port, other.port);
    let url = format!("postgres://orders:orders@{hosts}/orders?target_session_attrs=read-write");
    let pool = || PgPool::new(&url, "test", 4, LIMITS).unwrap();
    let mut old = Postgres::start(one).await.expect("a primary starts");
    let mut new = old.start_standby(other).await.expect("a standby starts");
    let early = pool();
    let table = early.statement().await.unwrap();
    table.query("CREATE TABLE notes (number INTEGER)").done().await.unwrap();
    drop(table);
    write(&early, 1).await.unwrap();
    assert_eq!(count(&new).await, 1, "the commit waited for the standby");

    old.kill().await.unwrap();
    new.promote().await.unwrap();
    until(|| async { write(&early, 2).await.map_err(|why| why.to_string()) }).await;

    // It takes connections as the primary that it was, and its standby will never come.
    old.restart().await.unwrap();
    write(&early, 3).await.unwrap();
    write(&pool(), 4).await.unwrap();
    assert_eq!((count(&new).await, count(&old).await), (4, 1));

    new.kill().await.unwrap();
    let why = write(&early, 5).await.unwrap_err().to_string();
    assert!(why.contains("it is an old primary, of timeline 1; the present one's is 2"), "{why}");
    assert_eq!(count(&old).await, 1);
}
