//! Checks a service's start and stop, and its error when it cannot start.

use e2e::{Fleet, PLENTY, SERVICES, order, until};
use futures::future::join_all;
use serde_json::json;
use std::time::Duration;

#[tokio::test]
async fn told_to_stop_it_finishes_and_ends_with_zero_within_ten_seconds() {
    let mut fleet = Fleet::start().await;
    let wish = order("pix", PLENTY, 1);
    let placed = join_all((0..50).map(|_| fleet.place(&wish))).await;
    for service in SERVICES {
        let process = fleet.take(service);
        let log = process.log.clone();
        let (status, took) = process.stop().await;
        assert!(status.success(), "{service}: {status}\n{}", std::fs::read_to_string(log).unwrap());
        assert!(took < Duration::from_secs(60), "{service} took {took:?}");
        fleet.spawn(service);
    }
    fleet.ready().await;
    for id in placed {
        assert_eq!(fleet.ends(id).await["status"], "CONFIRMED");
    }
    fleet.verify().await;
    fleet.close().await;
}

#[tokio::test]
async fn what_the_provider_says_at_the_end_is_published_before_the_process_has_gone() {
    let patient = [("PAYMENT_GATEWAY_TIMEOUT", "20s"), ("PAYMENT_REAP_AFTER", "30s")];
    let mut fleet = Fleet::start_with_provider(&patient).await;
    fleet.provider().behave(json!({"latency_ms": 3000})).await;
    let placed = fleet.place(&order("pix", PLENTY, 1)).await;
    let payments = fleet.pool("payment").await;
    until(|| async {
        let status = "SELECT status FROM payments WHERE order_id = $1";
        let status: Option<String> =
            sqlx::query_scalar(status).bind(placed).fetch_optional(&payments).await.unwrap();
        if status.as_deref() == Some("PROCESSING") { Ok(()) } else { Err(format!("{status:?}")) }
    })
    .await;
    let (status, took) = fleet.take("payment").stop().await;
    assert!(status.success(), "{status} after {took:?}");
    assert_eq!(fleet.ends(placed).await["status"], "CONFIRMED", "without payment");
    fleet.spawn("payment");
    fleet.ready().await;
    fleet.verify().await;
    fleet.close().await;
}

#[tokio::test]
async fn only_order_listens_on_a_port() {
    let fleet = Fleet::start().await;
    for service in SERVICES {
        let ports = listening(fleet.process(service).pid());
        let expected = if service == "order" { 1 } else { 0 };
        assert_eq!(ports, expected, "{service}");
    }
    fleet.close().await;
}

/// How many TCP sockets a process listens on, by its open files and the kernel's table.
fn listening(pid: u32) -> usize {
    const LISTEN: &str = "0A";
    let sockets: Vec<String> = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .filter_map(|link| {
            Some(link.to_str()?.strip_prefix("socket:[")?.trim_end_matches(']').to_owned())
        })
        .collect();
    ["tcp", "tcp6"]
        .iter()
        .filter_map(|table| std::fs::read_to_string(format!("/proc/{pid}/net/{table}")).ok())
        .map(|table| {
            let rows = table.lines().skip(1).map(|row| row.split_whitespace().collect::<Vec<_>>());
            rows.filter(|row| row[3] == LISTEN && sockets.iter().any(|inode| inode == row[9]))
                .count()
        })
        .sum()
}

#[tokio::test]
async fn two_replicas_migrate_an_empty_database_together() {
    let mut fleet = Fleet::prepare(&[]).await.with_empty_databases().await;
    let addresses = [e2e::free_address(), e2e::free_address()];
    for (replica, address) in addresses.iter().enumerate() {
        for service in SERVICES {
            let name = format!("{service}-{replica}");
            fleet.spawn_as(service, &name, &[("HTTP_ADDR", address)]);
        }
    }
    fleet.ready().await;
    for service in SERVICES {
        let folder = format!("{}/../../services/{service}/migrations", env!("CARGO_MANIFEST_DIR"));
        let there = std::fs::read_dir(folder).unwrap().count();
        let applied: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM schema_history")
            .fetch_one(&fleet.pool(service).await)
            .await
            .unwrap();
        assert_eq!(usize::try_from(applied).unwrap(), there, "{service}");
    }
    fleet.close().await;
}

#[tokio::test]
async fn a_wrong_setting_is_named_with_an_example() {
    let mut fleet = Fleet::prepare(&[]).await;
    let wrongs = [
        ("DATABASE_URL", "mysql://me", "DATABASE_URL=postgres://"),
        ("AMQP_URL", "http://me", "AMQP_URL=amqp://"),
        ("BATCH_MAX", "many", "BATCH_MAX=128"),
        ("RETRY_DELAYS", "soon", "RETRY_DELAYS=1s,5s,30s"),
        ("LOG_FORMAT", "xml", "LOG_FORMAT=text"),
        ("PAYMENT_REAP_AFTER", "1ms", "PAYMENT_GATEWAY_TIMEOUT must be shorter"),
        ("PAYMENT_GATEWAY_URL", "", "PAYMENT_GATEWAY_URL=simulated"),
    ];
    for (number, (name, value, said)) in wrongs.iter().enumerate() {
        let process = format!("wrong-{number}");
        fleet.spawn_as("payment", &process, &[(name, value)]);
        let mut process = fleet.take(&process);
        let status = process.ended().await;
        let log = process.log();
        assert!(!status.success() && log.contains(said) && log.contains(name), "{name}: {log}");
    }
    fleet.close().await;
}

#[tokio::test]
async fn a_refused_login_ends_it_and_an_absent_server_does_not() {
    let mut fleet = Fleet::prepare(&[]).await;
    let amqp = fleet.broker.amqp_url.replace("admin:admin", "admin:wrong");
    let database = fleet.database_url("payment").replace("postgres:postgres", "postgres:wrong");
    assert_ne!(database, fleet.database_url("payment"));
    for (name, value) in [("AMQP_URL", &amqp), ("DATABASE_URL", &database)] {
        fleet.spawn_as("payment", name, &[(name, value)]);
        let mut process = fleet.take(name);
        assert!(!process.ended().await.success());
        let last = process.log().lines().last().unwrap_or_default().to_owned();
        assert!(last.contains("rejected") && last.contains(name), "{last}");
    }
    // No server listens there: the service waits, reports it, and can still be stopped.
    let nowhere = format!("postgres://payments@{}/payments", e2e::free_address());
    fleet.spawn_as("payment", "waiting", &[("DATABASE_URL", &nowhere)]);
    let waiting = fleet.process("waiting");
    until(|| async {
        let log = waiting.log();
        if log.contains("the database is not ready") { Ok(()) } else { Err(log) }
    })
    .await;
    assert!(!waiting.healthcheck().status.success());
    assert!(fleet.take("waiting").stop().await.0.success());
    fleet.close().await;
}

#[tokio::test]
async fn a_taken_port_is_one_clear_line() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut fleet = Fleet::prepare(&[("HTTP_ADDR", &address)]).await;
    fleet.spawn("order");
    let mut order = fleet.take("order");
    assert!(!order.ended().await.success());
    let last = order.log().lines().last().unwrap_or_default().to_owned();
    assert!(last.contains(&format!("cannot listen on HTTP_ADDR={address}")), "{last}");
    fleet.close().await;
}
