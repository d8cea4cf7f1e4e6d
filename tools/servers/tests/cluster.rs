//! Tests several servers that work together: a cluster of RabbitMQ nodes, a Postgres and its
//! standby, HAProxy before two copies.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use servers::{
    HaProxy, HaProxyConfig, Lifetime, Membership, Postgres, PostgresConfig, RabbitCluster,
    RabbitConfig, RabbitMq, Replication, ports, release,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::sleep;

/// A directory of a test's own, deleted with its watchdog.
fn directory(lifetime: &Lifetime, name: &str) -> PathBuf {
    let dir =
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    if let Lifetime::Bound(watchdog) = lifetime {
        watchdog.deletes(&dir).unwrap();
    }
    dir
}

fn node(dir: &Path, number: usize, root: Option<PathBuf>, lifetime: &Lifetime) -> RabbitConfig {
    let queue = json!({ "name": "orders", "vhost": "/", "durable": true, "auto_delete": false,
        "arguments": { "x-queue-type": "quorum" } });
    RabbitConfig {
        dir: dir.join(number.to_string()),
        port: ports::free().unwrap(),
        management_port: ports::free().unwrap(),
        metrics_port: None,
        user: "admin".into(),
        password: "admin".into(),
        definitions: vec![json!({ "queues": [queue] })],
        root,
        cluster: Some(Membership { dir: dir.to_owned(), number, size: 3 }),
        tls: None,
        lifetime: lifetime.clone(),
    }
}

async fn queue(node: &RabbitMq) -> Result<Value, reqwest::Error> {
    let url = format!("{}/api/queues/%2f/orders", node.management_url());
    let request = https::plain().build().unwrap().get(url).basic_auth("admin", Some("admin"));
    request.timeout(Duration::from_secs(2)).send().await?.error_for_status()?.json().await
}

/// The queue, once it is as wanted.
async fn queue_once(node: &RabbitMq, is_wanted: impl Fn(&Value) -> bool) -> Value {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        match queue(node).await {
            Ok(queue) if is_wanted(&queue) => return queue,
            other => assert!(Instant::now() < until, "{other:?}"),
        }
        sleep(Duration::from_millis(100)).await;
    }
}

fn size(list: &Value) -> usize {
    list.as_array().map_or(0, Vec::len)
}

async fn survives_a_node(root: Option<PathBuf>, name: &str) {
    let lifetime = Lifetime::bound().unwrap();
    let dir = directory(&lifetime, name);
    let configs = [1, 2, 3].map(|number| node(&dir, number, root.clone(), &lifetime));
    let mut cluster = RabbitCluster::start(configs.to_vec()).await.unwrap();
    let three = |queue: &Value| size(&queue["members"]) == 3 && size(&queue["online"]) == 3;
    let before = queue_once(&cluster.nodes[0], three).await;
    let leader = before["leader"].as_str().unwrap();
    let dead = (1..=3).find(|number| leader == Membership::node(*number)).unwrap() - 1;

    cluster.nodes[dead].kill().await.unwrap();
    let other = &cluster.nodes[(dead + 1) % 3];
    let moved = |queue: &Value| queue["leader"].as_str().is_some_and(|now| now != leader);
    queue_once(other, |queue| moved(queue) && size(&queue["online"]) == 2).await;
    assert!(other.is_ready().await && other.running_nodes().await.unwrap() == 2);

    cluster.nodes[dead].restart().await.unwrap();
    queue_once(&cluster.nodes[dead], three).await;

    cluster.stop().await.unwrap();
    assert!(cluster.nodes.iter().all(|node| !node.is_running()));
    let cluster = RabbitCluster::start(configs.to_vec()).await.unwrap();
    queue_once(&cluster.nodes[2], three).await;
}

#[tokio::test]
async fn three_nodes_form_a_cluster_that_survives_the_death_of_a_leader() {
    servers::install::ensure().await.unwrap();
    survives_a_node(None, "cluster").await;
}

#[tokio::test]
async fn the_newest_rabbitmq_forms_a_cluster_too() {
    servers::install::ensure().await.unwrap();
    let roots = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("../rabbitmq");
    if let Some(root) = release::rabbitmq_or_skip(&roots, release::NEWER[1]).await {
        survives_a_node(Some(root), "cluster-newest").await;
    }
}

fn pair(dir: &Path, lifetime: &Lifetime) -> [PostgresConfig; 2] {
    ["one", "other"].map(|name| PostgresConfig {
        dir: dir.join(name),
        port: ports::free().unwrap(),
        database: "orders".into(),
        user: "orders".into(),
        password: "orders".into(),
        superuser_password: "it's \"secret\"".into(),
        replication: Some(Replication::Primary),
        tls: None,
        lifetime: lifetime.clone(),
    })
}

#[tokio::test]
async fn a_standby_has_every_commit_is_promoted_and_followed_by_the_old_primary() {
    servers::install::ensure().await.unwrap();
    let lifetime = Lifetime::bound().unwrap();
    let [one, other] = pair(&directory(&lifetime, "standby"), &lifetime);
    let mut primary = Postgres::start(one.clone()).await.unwrap();
    primary.sql("CREATE TABLE kept (n int);").await.unwrap();
    let mut standby = primary.start_standby(other.clone()).await.unwrap();
    let follower = primary.follower().await.unwrap().unwrap();
    assert!(follower.is_synchronous && one.waits_for_standby(), "{follower:?}");
    primary.sql("INSERT INTO kept VALUES (7);").await.unwrap();

    primary.kill().await.unwrap();
    standby.promote().await.unwrap();
    let count = "SELECT count(*) FROM kept;";
    assert_eq!(standby.sql(count).await.unwrap(), "1");
    standby.sql("INSERT INTO kept VALUES (8);").await.expect("it waits for nobody");

    let mut old = standby.start_standby(one.clone()).await.unwrap();
    assert_eq!(old.sql("SELECT pg_is_in_recovery();").await.unwrap(), "t");
    standby.sql("INSERT INTO kept VALUES (9);").await.unwrap();
    assert!(other.waits_for_standby() && !one.waits_for_standby());

    old.kill().await.unwrap();
    let waits = tokio::time::timeout(Duration::from_secs(1), standby.sql("TRUNCATE kept;"));
    assert!(waits.await.is_err(), "a commit waits for the standby");
    standby.wait_for_standby(false).await.unwrap();
    standby.sql("INSERT INTO kept VALUES (10);").await.unwrap();
    let again = standby.start_standby(one).await.unwrap();
    assert_eq!(again.sql(count).await.unwrap(), standby.sql(count).await.unwrap());

    drop(again);
    standby.stop().await.unwrap();
    let standby = Postgres::start(other).await.unwrap();
    assert_eq!(standby.sql("SHOW synchronous_standby_names;").await.unwrap(), "standby");
}

/// A copy that answers its name, and is ready or not.
async fn copy(name: char, is_ready: Arc<AtomicBool>) -> u16 {
    let port = ports::free().unwrap();
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut request = [0; 1024];
            let length = client.read(&mut request).await.unwrap_or(0);
            let is_probe = request[..length].starts_with(b"GET /readyz ");
            let is_well = is_ready.load(Ordering::Relaxed) || !is_probe;
            let status = if is_well { "200 OK" } else { "503 Service Unavailable" };
            let head = "connection: close\r\ncontent-length: 1\r\n\r\n";
            let answer = format!("HTTP/1.1 {status}\r\n{head}{name}");
            client.write_all(answer.as_bytes()).await.ok();
        }
    });
    port
}

#[tokio::test]
async fn a_proxy_prefers_the_copies_that_are_ready_and_asks_the_others_if_none_is() {
    servers::install::ensure_haproxy().await.unwrap();
    let lifetime = Lifetime::bound().unwrap();
    let (one, other) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(true)));
    let copies = vec![copy('a', Arc::clone(&one)).await, copy('b', Arc::clone(&other)).await];
    let (dir, port) = (directory(&lifetime, "haproxy"), ports::free().unwrap());
    let config = HaProxyConfig { dir, port, copies, probe: "/readyz", lifetime };
    let mut proxy = HaProxy::start(&config).await.unwrap();
    let http = https::plain().pool_max_idle_per_host(0).build().unwrap();
    let answered = async || {
        let mut names = String::new();
        for _ in 0..6 {
            let answer = http.get(format!("http://127.0.0.1:{port}/")).send().await.unwrap();
            names += &answer.error_for_status().unwrap().text().await.unwrap();
        }
        names
    };
    let only = async |wanted: &str| {
        let until = Instant::now() + Duration::from_secs(60);
        while answered().await != wanted {
            assert!(Instant::now() < until, "not {wanted}");
        }
    };
    assert!(answered().await.contains('b'));
    other.store(false, Ordering::Relaxed);
    only("aaaaaa").await;
    one.store(false, Ordering::Relaxed);
    // An unready copy is better than none.
    let until = Instant::now() + Duration::from_secs(60);
    while !answered().await.contains('b') {
        assert!(Instant::now() < until, "the other is not asked");
    }
    one.store(true, Ordering::Relaxed);
    only("aaaaaa").await;
    proxy.stop().await.unwrap();
}
