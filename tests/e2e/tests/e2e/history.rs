//! A fifth service joins later, and `saga replay` gives it the events that it missed: each is
//! handled once, and no other service gets any.

use crate::dead_letters::{DLQ, QUEUE as DEAD_HERE, TABLE, die, exported};
use database::{PgPool, testing::throwaway};
use e2e::{Fleet, PLENTY, Said, mend, order, until};
use loyalty::Settings;
use messaging::{RabbitMq, header};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use service::testing::running;
use std::{process::Stdio, time::Duration};
use tokio_util::sync::CancellationToken;

const QUEUE: &str = "loyalty.payment-approved";
const ALL: [&str; 5] = ["replay", "--to", QUEUE, "--since", "oldest"];
const BEFORE: i64 = 30;

/// Runs loyalty during the test, on the fleet's broker and this database.
pub async fn with_loyalty(fleet: &Fleet, pool: PgPool, test: impl AsyncFnOnce(&PgPool)) {
    let settings = Settings { expire_every: Duration::from_hours(1) };
    let stop = CancellationToken::new();
    let broker = RabbitMq::new(&fleet.broker.amqp_url, 100).unwrap();
    let around = running(&pool, broker, fleet.file("loyalty.health"), &stop);
    let running = async { loyalty::service(&settings).unwrap().run(around).await.unwrap() };
    let tested = async {
        test(&pool).await;
        stop.cancel();
    };
    tokio::join!(running, tested);
}

async fn count(pool: &PgPool, question: &'static str) -> i64 {
    sqlx::query_scalar(question).fetch_one(pool).await.unwrap_or(-1)
}

async fn points(pool: &PgPool) -> i64 {
    count(pool, "SELECT COUNT(*) FROM points").await
}

pub async fn confirmed(fleet: &Fleet, number: i64) {
    for _ in 0..number {
        let id = fleet.place(&order("pix", PLENTY, 1)).await;
        assert_eq!(fleet.ends(id).await["status"], "CONFIRMED");
    }
}

pub async fn reaches(pool: &PgPool, wanted: i64) {
    until(|| async {
        let given = points(pool).await;
        if given >= wanted { Ok(()) } else { Err(format!("{given} of {wanted} points given")) }
    })
    .await;
}

/// Replays slowly, and is interrupted half-way; returns where it can go on.
async fn interrupted(fleet: &Fleet, pool: &PgPool) -> String {
    let arguments = [&ALL[..], &["--rate", "2"]].concat();
    let mut command = fleet.saga_command(&arguments);
    let replay = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    reaches(pool, 2).await;
    let pid = i32::try_from(replay.id().unwrap()).unwrap();
    kill(Pid::from_raw(pid), Signal::SIGINT).unwrap();
    let said = Said::new(&arguments, replay.wait_with_output().await.unwrap());
    assert_eq!(said.code, Some(130), "{said:?}");
    let (_, after) = said.error.split_once("--after ").expect("it says where it was");
    after.trim().to_owned()
}

#[tokio::test]
async fn a_fifth_service_gets_what_it_missed_and_nobody_else_does() {
    let fleet = Fleet::start().await;
    confirmed(&fleet, BEFORE).await;
    let unknown = fleet.saga(&ALL).await;
    assert_eq!(unknown.code, Some(1));
    assert!(unknown.error.contains("start its service once"), "{unknown:?}");

    with_loyalty(&fleet, throwaway().await, async |pool| {
        until(|| async {
            let planned = fleet.saga(&[&ALL[..], &["--dry-run", "--json"]].concat()).await;
            if planned.code == Some(0) && planned.json()["events"] == BEFORE {
                return Ok(());
            }
            Err(format!("its queue is not there: {planned:?}"))
        })
        .await;
        fleet.broker.tap().await;
        let after = interrupted(&fleet, pool).await;
        let given = points(pool).await;
        assert!((2..BEFORE).contains(&given), "{given}");

        confirmed(&fleet, 1).await;
        let rest = fleet.saga(&["replay", "--to", QUEUE, "--after", &after, "--json"]).await;
        assert_eq!(rest.code, Some(0), "{rest:?}");
        reaches(pool, BEFORE + 1).await;
        // Once more, all of it.
        let again = fleet.saga(&[&ALL[..], &["--json"]].concat()).await;
        assert_eq!(again.json()["replayed"], BEFORE + 1, "{again:?}");
        confirmed(&fleet, 1).await;
        reaches(pool, BEFORE + 2).await;
        until(|| async {
            let left = fleet.broker.ready(&[QUEUE.into(), format!("{QUEUE}.dlq")]).await;
            if left == [0, 0] { Ok(()) } else { Err(format!("{left:?}")) }
        })
        .await;
        for table in ["points", "idempotency_keys", "outbox"] {
            let select = format!("SELECT COUNT(*) FROM {table}");
            let rows = sqlx::query_scalar::<_, i64>(sqlx::AssertSqlSafe(select));
            assert_eq!(rows.fetch_one(pool).await.unwrap(), BEFORE + 2, "{table}");
        }
        let heard = fleet.broker.untap().await;
        let approved = heard.iter().filter(|one| one.kind.as_deref() == Some("payment.approved"));
        assert_eq!(approved.count(), 2, "the two new orders'");
    })
    .await;
    fleet.verify().await;
    fleet.close().await;
}

#[tokio::test]
async fn a_replay_that_cannot_be_complete_says_why() {
    let fleet = Fleet::start_with(&[("HISTORY_DAYS", "0")]).await;
    confirmed(&fleet, 1).await;
    let queue = "order.payment-approved";
    let since = |since| ["replay", "--to", queue, "--since", since];
    until(|| async {
        let nothing = fleet.saga(&since("oldest")).await;
        let is_said = nothing.error.contains("nothing is kept that payment has published");
        if is_said { Ok(()) } else { Err(format!("{nothing:?}")) }
    })
    .await;
    let parked = fleet.saga(&["replay", "--to", "unrouted", "--since", "oldest"]).await;
    assert!(parked.error.contains("no event goes to unrouted"), "{parked:?}");
    fleet.close().await;

    let fleet = Fleet::start().await;
    confirmed(&fleet, 1).await;
    let old = fleet.saga(&since("2h")).await;
    assert!(old.code == Some(1) && old.error.contains("say `--since oldest`"), "{old:?}");
    fleet.close().await;
}

#[tokio::test]
async fn an_event_that_was_repaired_is_not_handled_by_a_replay_and_a_purged_one_is() {
    let fleet = Fleet::start().await;
    let stock = fleet.pool("inventory").await;
    let repaired = die(&fleet, &stock, 1).await[0];
    let six = exported(&fleet, "six", 6).await;
    let import = fleet.saga(&["dlq", "import", &six, "--replay", "--json"]).await;
    assert_eq!(import.json()[0]["outcome"], "repaired", "{import:?}");
    assert_eq!(fleet.ends(repaired).await["status"], "CONFIRMED");
    let mends = fleet.verify().await.repaired;

    mend(&stock, TABLE).await;
    let purged = die(&fleet, &stock, 1).await[0];
    assert_eq!(fleet.saga(&["dlq", "purge", "--all", "--yes"]).await.code, Some(0));
    mend(&stock, TABLE).await;
    let replay = ["replay", "--to", DEAD_HERE, "--since", "oldest", "--json"];
    assert_eq!(fleet.saga(&replay).await.json()["replayed"], 2);
    assert_eq!(fleet.ends(purged).await["status"], "CONFIRMED");
    fleet.holds(DLQ, 1).await;
    let refused = fleet.broker.drain(DLQ).await.pop().unwrap();
    assert_eq!(refused.id, Some(mends[0].old.to_string()));
    let why = refused.text(header::REASON).unwrap();
    assert!(why.contains(&format!("republished as event {}", mends[0].new)), "{why}");
    fleet.verify().await;
    fleet.close().await;
}
