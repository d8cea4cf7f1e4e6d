//! Rollback: this release runs on the schema of the next one, and beside it.

use e2e::{Fleet, PLENTY, SERVICES, order, until};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgPool};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use uuid::Uuid;

/// Migrates as the next release would: more columns and tables, and a row in each migration
/// history.
async fn upgrade(pool: &PgPool) {
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT relname::TEXT
         FROM pg_class
         WHERE relnamespace = 'public'::REGNAMESPACE AND relkind IN ('r', 'p')
             AND NOT relispartition AND relname NOT LIKE '%schema_history'",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    assert!(tables.len() > 4, "{tables:?}");
    for table in tables {
        let sql = format!("ALTER TABLE {table} ADD COLUMN of_the_next TEXT NOT NULL DEFAULT ''");
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(pool).await.unwrap();
    }
    sqlx::raw_sql("CREATE TABLE of_the_next (id UUID PRIMARY KEY)").execute(pool).await.unwrap();
    for history in ["schema_history", "messaging_schema_history"] {
        let sql = format!(
            "INSERT INTO {history} (version, name, applied_on, checksum)
             SELECT 1 + MAX(version), 'of_the_next', MAX(applied_on), '1' FROM {history}"
        );
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(pool).await.unwrap();
    }
}

/// Places orders until stopped; returns the accepted ones.
async fn load(fleet: &Fleet, stop: Arc<AtomicBool>) -> tokio::task::JoinHandle<Vec<Uuid>> {
    let (http, url) = (fleet.http.clone(), format!("{}/orders", fleet.order_url));
    tokio::spawn(async move {
        let mut taken = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            // A request that got no answer is sent again.
            if let Ok(answer) = http.post(&url).json(&order("pix", PLENTY, 1)).send().await
                && let Ok(body) = answer.json::<Value>().await
            {
                taken.extend(body["order_id"].as_str().and_then(|id| id.parse::<Uuid>().ok()));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        taken
    })
}

#[tokio::test]
async fn this_release_runs_on_the_schema_of_the_next_and_starts_there() {
    let mut fleet = Fleet::start().await;
    let stop = Arc::new(AtomicBool::new(false));
    let load = load(&fleet, stop.clone()).await;
    for service in SERVICES {
        upgrade(&fleet.pool(service).await).await;
    }
    // Running processes continue; one starts beside each, as after a crash; then all restart.
    for service in ["payment", "inventory", "shipping"] {
        fleet.spawn_as(service, &format!("{service}-2"), &[]);
    }
    fleet.ready().await;
    for service in SERVICES {
        fleet.take(service).kill();
        fleet.spawn(service);
    }
    fleet.ready().await;
    let before = fleet.place(&order("pix", PLENTY, 1)).await;
    fleet.ends(before).await;
    stop.store(true, Ordering::Relaxed);
    let taken = load.await.unwrap();
    assert!(taken.len() > 20, "{} orders under way", taken.len());
    for id in taken {
        assert_eq!(fleet.ends(id).await["status"], "CONFIRMED");
    }
    for service in SERVICES {
        let log = fleet.process(service).log();
        assert!(log.contains("the schema is newer than this release"), "{service}: {log}");
    }
    fleet.verify().await;
    fleet.close().await;
}

#[tokio::test]
async fn an_event_of_the_next_release_is_heard_whatever_else_it_says() {
    let mut fleet = Fleet::start().await;
    assert!(fleet.take("payment").stop().await.0.success());
    let id = fleet.place(&order("pix", PLENTY, 1)).await;
    let queue = "payment.order-created";
    let mut message = until(|| async {
        fleet.broker.drain(queue).await.pop().ok_or_else(|| "it is not published".to_owned())
    })
    .await;
    let mut body: Value = serde_json::from_slice(&message.body).unwrap();
    body["of_the_next"] = json!({ "gift": true });
    message.body = serde_json::to_vec(&body).unwrap();
    fleet.broker.put(queue, &message).await;
    fleet.spawn("payment");
    assert_eq!(fleet.ends(id).await["status"], "CONFIRMED");
    fleet.verify().await;
    fleet.close().await;
}

#[tokio::test]
async fn a_schema_of_another_history_ends_the_service_with_a_reason() {
    let mut fleet = Fleet::start().await;
    fleet.take("shipping").kill();
    sqlx::query("UPDATE schema_history SET checksum = '1' WHERE version = 1")
        .execute(&fleet.pool("shipping").await)
        .await
        .unwrap();
    fleet.spawn("shipping");
    let mut process = fleet.take("shipping");
    assert!(!process.ended().await.success());
    let log = process.log();
    assert!(log.contains("start the release that made it"), "{log}");
    assert!(log.contains("V1__shipments"), "{log}");
    fleet.close().await;
}
