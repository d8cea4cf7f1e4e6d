//! Tests the servers as the whole workspace's tests and `saga up` use them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use servers::raw::{Property, RawProperties, RawPublisher, hostile};
use servers::{
    Lifetime, Postgres, PostgresConfig, Process, RabbitCluster, RabbitConfig, RabbitMq, ports,
    release,
};

/// A directory of a test's own, deleted with its watchdog.
fn directory(lifetime: &Lifetime, name: &str) -> PathBuf {
    let dir =
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    if let Lifetime::Bound(watchdog) = lifetime {
        watchdog.deletes(&dir).unwrap();
    }
    dir
}

fn postgres(lifetime: &Lifetime, name: &str) -> PostgresConfig {
    PostgresConfig {
        dir: directory(lifetime, name),
        port: ports::free().unwrap(),
        database: "orders".into(),
        user: "orders".into(),
        password: "or'ders".into(),
        superuser_password: "secret".into(),
        replication: None,
        tls: None,
        lifetime: lifetime.clone(),
    }
}

fn psql(server: &PostgresConfig, user: &str, password: &str, sql: &str) -> Result<String, String> {
    let bin = servers::install::find().unwrap().postgres;
    let output = Command::new(bin.join("psql"))
        .args(["-XqAtw", "-h", "127.0.0.1", "-d", "orders", "-v", "ON_ERROR_STOP=1"])
        .args(["-U", user, "-p", &server.port.to_string(), "-c", sql])
        .env("PGPASSWORD", password)
        .output()
        .unwrap();
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout).unwrap().trim().to_owned()),
        false => Err(String::from_utf8(output.stderr).unwrap()),
    }
}

#[tokio::test]
async fn four_postgres_start_at_once_and_keep_what_was_committed_through_a_crash() {
    servers::install::ensure().await.unwrap();
    let lifetime = Lifetime::bound().unwrap();
    let configs = [0, 1, 2, 3].map(|at| postgres(&lifetime, &format!("postgres-{at}")));
    let starts = configs.clone().map(|config| tokio::spawn(Postgres::start(config)));
    let mut running = Vec::new();
    for start in starts {
        running.push(start.await.unwrap().unwrap());
    }

    let (config, server) = (&configs[0], &mut running[0]);
    let own = |sql: &str| psql(config, "orders", "or'ders", sql);
    own("CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)").unwrap();
    assert_eq!(own("SHOW fsync").unwrap(), "on");
    assert!(psql(config, "orders", "wrong", "SELECT 1").unwrap_err().contains("authentication"));
    psql(config, "postgres", "secret", "CREATE DATABASE another").unwrap();

    let pid = server.process().pid;
    server.kill().await.unwrap();
    assert!(!server.is_running() && ports::is_free(config.port));
    server.restart().await.unwrap();
    assert_ne!(server.process().pid, pid);
    assert_eq!(own("SELECT n FROM kept").unwrap(), "7");
    server.restart().await.unwrap();
    assert_eq!(own("SELECT n FROM kept").unwrap(), "7");

    let processes: Vec<Process> = running.iter().map(Postgres::process).collect();
    drop(running);
    assert!(processes.iter().all(|process| !process.is_alive()));
    drop(lifetime);
    let dirs = configs.map(|config| config.dir.clone());
    assert!(dirs.iter().all(|dir| !dir.exists()), "the watchdog deletes what was left");
}

#[tokio::test]
async fn a_postgres_in_the_background_is_found_again_stopped_and_deleted() {
    servers::install::ensure().await.unwrap();
    let lifetime = Lifetime::Detached;
    let config = postgres(&lifetime, "postgres-background");
    let process = Postgres::start(config.clone()).await.unwrap().process();
    assert!(process.is_alive(), "dropping the handle leaves it running");
    assert!(Postgres::start(config.clone()).await.is_err(), "it runs already");

    let mut found = Postgres::attach(config.clone()).unwrap().expect("it runs");
    assert_eq!(found.process(), process);
    assert!(Postgres::delete(&config.dir).await.is_err(), "it still runs");
    found.stop().await.unwrap();
    assert!(Postgres::attach(config.clone()).unwrap().is_none());
    Postgres::delete(&config.dir).await.unwrap();
    assert!(!config.dir.exists());
}

fn rabbit(lifetime: &Lifetime, name: &str) -> RabbitConfig {
    RabbitConfig {
        dir: directory(lifetime, name),
        port: ports::free().unwrap(),
        management_port: ports::free().unwrap(),
        metrics_port: None,
        user: "admin".into(),
        password: "admin".into(),
        definitions: vec![
            json!({ "users": [{ "name": "order", "password": "order", "tags": "" }] }),
            json!({ "policies": [{
                "vhost": "/", "name": "limit", "pattern": ".*", "apply-to": "queues",
                "definition": { "delivery-limit": 1000 },
            }] }),
        ],
        root: None,
        cluster: None,
        tls: None,
        lifetime: lifetime.clone(),
    }
}

async fn get(server: &RabbitMq, path: &str, user: &str) -> reqwest::Response {
    let url = format!("{}/api/{path}", server.management_url());
    https::plain().build().unwrap().get(url).basic_auth(user, Some(user)).send().await.unwrap()
}

async fn put(server: &RabbitMq, path: &str, body: &Value) {
    let url = format!("{}/api/{path}", server.management_url());
    let request =
        https::plain().build().unwrap().put(url).basic_auth("admin", Some("admin")).json(body);
    let answer = request.send().await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.status());
}

#[tokio::test]
async fn rabbitmq_has_its_users_and_policies_and_keeps_its_queues_through_a_crash() {
    servers::install::ensure().await.unwrap();
    let lifetime = Lifetime::bound().unwrap();
    let config = rabbit(&lifetime, "rabbitmq");
    let definitions = config.dir.join("definitions.json");
    fs::create_dir_all(&config.dir).unwrap();
    fs::write(&definitions, "of an older start").unwrap();
    fs::set_permissions(&definitions, fs::Permissions::from_mode(0o644)).unwrap();
    let mut server = RabbitMq::start(config.clone()).await.unwrap();
    let mode = fs::metadata(&definitions).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "it has passwords");

    // The run that started it was killed before it could note that.
    let mark = config.dir.join("started-once");
    fs::remove_file(&mark).unwrap();
    RabbitCluster::start(vec![config.clone()]).await.unwrap();
    assert!(mark.exists(), "the next start would take its data for half made");

    let users: Value = get(&server, "users", "admin").await.json().await.unwrap();
    let names: Vec<_> = users.as_array().unwrap().iter().map(|user| &user["name"]).collect();
    assert_eq!(names, ["admin", "order"], "the administrator and the one given, but no guest");
    assert_eq!(get(&server, "users", "guest").await.status(), 401);

    let quorum = json!({ "durable": true, "arguments": { "x-queue-type": "quorum" } });
    put(&server, "queues/%2f/payment.order-created", &quorum).await;
    let policies: Value = get(&server, "policies", "admin").await.json().await.unwrap();
    assert_eq!(policies[0]["name"], "limit", "what its owner adds is there: {policies}");

    server.kill().await.unwrap();
    assert!(!server.is_running());
    server.restart().await.unwrap();
    let queues: Value = get(&server, "queues", "admin").await.json().await.unwrap();
    assert_eq!(queues.as_array().unwrap().len(), 1);
    let process = server.process();
    server.stop().await.unwrap();
    assert!(!process.is_alive() && ports::is_free(config.port));
}

#[tokio::test]
async fn a_directory_that_rabbitmq_cannot_work_in_is_refused_at_once() {
    servers::install::ensure().await.unwrap();
    let lifetime = Lifetime::bound().unwrap();
    for name in ["o'brien", "number #1"] {
        let refused = RabbitMq::start(rabbit(&lifetime, name)).await.err().unwrap();
        assert!(refused.to_string().contains("without ' and # in its path"), "{refused:#}");
    }
}

#[tokio::test]
async fn rabbitmq_takes_whatever_bytes_are_published_by_hand() {
    servers::install::ensure().await.unwrap();
    let lifetime = Lifetime::bound().unwrap();
    let config = rabbit(&lifetime, "rabbitmq-raw");
    let server = RabbitMq::start(config.clone()).await.unwrap();
    let quorum = json!({ "durable": true, "arguments": { "x-queue-type": "quorum" } });
    put(&server, "queues/%2f/payment.order-created", &quorum).await;

    let connect = || RawPublisher::connect("127.0.0.1", config.port, "admin", "admin", "/");
    let mut publisher = connect().await.unwrap();
    let mut ids = 0;
    let all = hostile("order.created", || {
        ids += 1;
        format!("id-{ids}")
    });
    for one in &all {
        let properties = one.properties.bytes();
        let published = publisher.publish("", b"payment.order-created", &properties, &one.body);
        published.await.unwrap_or_else(|why| panic!("{}: {why:#}", one.name));
    }
    let plain = RawProperties::of("order.created", "plain", "order");
    let unrouted = publisher.publish("", b"\xff", &plain.bytes(), b"{}").await.unwrap_err();
    assert_eq!(unrouted.to_string(), "no queue takes it");

    let ready = publisher.ready("payment.order-created").await.unwrap();
    assert_eq!(ready as usize, all.len());

    let wrong = plain.with(Property::UserId, b"other");
    let refused = publisher.publish("", b"payment.order-created", &wrong.bytes(), b"{}").await;
    assert!(format!("{:#}", refused.unwrap_err()).contains("PRECONDITION_FAILED"));
    assert!(RawPublisher::connect("127.0.0.1", config.port, "admin", "no", "/").await.is_err());
}

#[tokio::test]
async fn two_rabbitmq_run_side_by_side_and_only_on_the_loopback() {
    servers::install::ensure().await.unwrap();
    let lifetime = Lifetime::bound().unwrap();
    let (one, other) = (rabbit(&lifetime, "rabbit-one"), rabbit(&lifetime, "rabbit-other"));
    let both = tokio::join!(RabbitMq::start(one), RabbitMq::start(other));
    let (one, other) = (both.0.unwrap(), both.1.unwrap());
    for server in [&one, &other] {
        let open = listeners(server.process().pid);
        assert!(open.len() >= 3, "AMQP, management and distribution: {open:?}");
        assert!(open.iter().all(|address| address == "0100007F"), "{open:?}");
    }
    let processes = [one.process(), other.process()];
    drop((one, other));
    assert!(processes.iter().all(|process| !process.is_alive()));
}

/// Each version reads other settings, and ignores an unknown one silently.
#[tokio::test]
async fn every_version_of_rabbitmq_does_as_its_settings_say() {
    servers::install::ensure().await.unwrap();
    let lifetime = Lifetime::bound().unwrap();
    let mut roots = vec![None];
    for name in release::NEWER {
        let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("../rabbitmq");
        roots.extend(release::rabbitmq_or_skip(&dir, name).await.map(Some));
    }
    for (at, root) in roots.into_iter().enumerate() {
        let config = RabbitConfig { root, ..rabbit(&lifetime, &format!("rabbit-version-{at}")) };
        let mut server = RabbitMq::start(config).await.unwrap();
        let told = "{maps:get(wal_max_size_bytes, ra_system:fetch(quorum_queues)),
                     application:get_env(rabbit, max_message_size), rabbit:product_version()}.";
        let told = server.eval(told).await.unwrap();
        assert!(told.starts_with("{64000000,{ok,1048576},"), "{told}");
        server.stop().await.unwrap();
    }
}

#[tokio::test]
async fn a_start_that_is_cancelled_leaves_nothing_and_can_be_repeated() {
    servers::install::ensure().await.unwrap();
    let lifetime = Lifetime::bound().unwrap();
    let database = PostgresConfig {
        lifetime: Lifetime::Detached,
        ..postgres(&lifetime, "postgres-cancelled")
    };
    let broker =
        RabbitConfig { lifetime: Lifetime::Detached, ..rabbit(&lifetime, "rabbit-cancelled") };
    for moment_ms in [50, 300, 1500] {
        let moment = Duration::from_millis(moment_ms);
        let postgres = tokio::time::timeout(moment, Postgres::start(database.clone()));
        let rabbit = tokio::time::timeout(moment, RabbitMq::start(broker.clone()));
        // Either it is ready in time, as on a fast machine, or it has ended.
        let (postgres, rabbit) = tokio::join!(postgres, rabbit);
        for mut postgres in postgres.into_iter().map(Result::unwrap) {
            postgres.kill().await.unwrap();
        }
        for mut rabbit in rabbit.into_iter().map(Result::unwrap) {
            rabbit.stop().await.unwrap();
        }
        let left = running_in(&[&database.dir, &broker.dir]);
        assert!(left.is_empty(), "after {moment:?} there are {left:?}");
    }
    let both = tokio::join!(Postgres::start(database), RabbitMq::start(broker));
    both.0.unwrap().kill().await.unwrap();
    both.1.unwrap().stop().await.unwrap();
}

/// The command lines that contain one of these directories.
fn running_in(dirs: &[&PathBuf]) -> Vec<String> {
    let all = fs::read_dir("/proc").unwrap().flatten();
    all.filter_map(|entry| fs::read_to_string(entry.path().join("cmdline")).ok())
        .filter(|line| dirs.iter().any(|dir| line.contains(dir.to_str().unwrap())))
        .collect()
}

/// The addresses, in the kernel's hexadecimal, that this process listens on.
fn listeners(pid: u32) -> Vec<String> {
    let holds = |port: u16| ports::holder(port).is_some_and(|process| process.pid == pid);
    let rows = |file: &str| fs::read_to_string(file).unwrap_or_default();
    let rows = rows("/proc/net/tcp") + &rows("/proc/net/tcp6");
    rows.lines()
        .map(|row| row.split_whitespace().collect::<Vec<_>>())
        .filter(|row| row.get(3) == Some(&"0A"))
        .filter_map(|row| row[1].split_once(':'))
        .filter(|(_, port)| holds(u16::from_str_radix(port, 16).unwrap()))
        .map(|(address, _)| address.to_owned())
        .collect()
}
