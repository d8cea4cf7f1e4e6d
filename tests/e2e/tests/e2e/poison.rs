//! A message that ends the process again and again does not affect the messages beside it.

use e2e::{Fleet, until};
use messaging::{Env, Message, Outgoing, SystemEnv, header};
use serde_json::json;
use std::os::unix::process::ExitStatusExt;

const QUEUE: &str = "fragile.hammer-struck";
const NEIGHBOURS: i64 = 30;
/// Handled in batches first, then quarantined and handled alone.
const DEATHS: usize = 2 + 3;

pub fn struck(hard: bool, cracks: bool) -> Message {
    let order_id = SystemEnv.new_id();
    let outgoing = Outgoing {
        id: SystemEnv.new_id(),
        event: "hammer.struck".into(),
        version: 1,
        order_id,
        body: json!({ "order_id": order_id, "hard": hard, "cracks": cracks }).to_string(),
        caused_by: None,
        trace: None,
    };
    outgoing.publication().message
}

/// One service, whose database begins empty.
pub async fn with_fragile() -> Fleet {
    let mut fleet = Fleet::prepare(&[]).await.with_empty_databases().await;
    spawn_fragile(&mut fleet);
    fleet.ready().await;
    fleet
}

fn spawn_fragile(fleet: &mut Fleet) {
    let (amqp, database) =
        (fleet.broker.amqp_url.clone(), fleet.database_url("shipping").to_owned());
    let settings = [("AMQP_URL", amqp.as_str()), ("DATABASE_URL", &database)];
    fleet.spawn_as("fragile", "fragile", &settings);
}

#[tokio::test]
async fn what_ends_the_process_is_the_only_dead_letter() {
    let mut fleet = with_fragile().await;
    assert!(fleet.take("fragile").stop().await.0.success());

    let fatal = struck(true, false);
    for number in 0..NEIGHBOURS {
        fleet.broker.put(QUEUE, &struck(false, false)).await;
        if number == NEIGHBOURS / 2 {
            fleet.broker.put(QUEUE, &fatal).await;
        }
    }
    for death in 1..=DEATHS {
        spawn_fragile(&mut fleet);
        let status = fleet.take("fragile").ended().await;
        assert_eq!(status.signal(), Some(nix::libc::SIGABRT), "death {death}: {status}");
    }
    spawn_fragile(&mut fleet);
    let dead = format!("{QUEUE}.dlq");
    until(|| async {
        let left = fleet.broker.ready(&[QUEUE.into(), dead.clone()]).await;
        if left == [0, 1] { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
    // The service keeps running, and is ready.
    fleet.ready().await;
    assert!(fleet.take("fragile").stop().await.0.success());

    let letters = fleet.broker.drain(&dead).await;
    assert_eq!(letters[0].id, fatal.id);
    assert_eq!(letters[0].body, fatal.body);
    let reason = letters[0].text(header::REASON).unwrap_or_default();
    assert_eq!(reason, "quarantined: it has crashed the process 3 times");
    let pool = fleet.pool("shipping").await;
    let count = |table: &str| {
        let select = format!("SELECT count(*) FROM {table}");
        let pool = pool.clone();
        async move {
            let found = sqlx::query_scalar::<_, i64>(sqlx::AssertSqlSafe(select));
            found.fetch_one(&pool).await.unwrap()
        }
    };
    assert_eq!(count("idempotency_keys").await, NEIGHBOURS);
    assert_eq!(count("suspects").await, 0, "nobody is under suspicion any more");
    fleet.close().await;
}
