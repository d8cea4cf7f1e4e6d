//! The dead-letter commands crash at each of their crash points, once and twice in a row. Repeated,
//! each command has its effect once, and nothing is lost.

use crate::dead_letters::{DLQ, QUEUE, TABLE, die, ready};
use e2e::{Fleet, mend, until};
use messaging::CrashPoint::{self, *};
use sqlx::PgPool;
use uuid::Uuid;

/// A crash removes one dead letter at most, so that one is left to handle.
const LETTERS: u32 = 3;

const REPLAY: [&str; 3] = ["dlq", "replay", QUEUE];
const PURGE: [&str; 4] = ["dlq", "purge", QUEUE, "--yes"];

/// Crashes at this crash point, this many times in a row.
type Crash = (CrashPoint, usize);

/// Each crash point once, and each twice.
fn crashes(points: &[CrashPoint]) -> Vec<Crash> {
    points.iter().flat_map(|point| [(*point, 1), (*point, 2)]).collect()
}

async fn beginning() -> (Fleet, PgPool) {
    let fleet = Fleet::start().await;
    let stock = fleet.pool("inventory").await;
    (fleet, stock)
}

/// Runs the command again until no dead letter is left.
async fn survives(fleet: &Fleet, command: &[&str], (point, times): Crash) {
    for _ in 0..times {
        until(|| async {
            let said = fleet.saga_crashing(command, point).await;
            assert_ne!(said.code, Some(0), "{command:?} does not come by {point:?}: {said:?}");
            let crashed = said.signal == Some(nix::libc::SIGABRT);
            // RabbitMQ may not have noticed yet that the last process is gone, which held all
            // messages.
            if crashed { Ok(()) } else { Err(format!("no crash at {point:?}: {said:?}")) }
        })
        .await;
    }
    until(|| async {
        let said = fleet.saga(command).await;
        let left = ready(fleet, DLQ).await;
        if left == 0 { Ok(()) } else { Err(format!("{left} are left: {said:?}")) }
    })
    .await;
}

async fn are_confirmed(fleet: &Fleet, orders: &[Uuid]) {
    for order in orders {
        assert_eq!(fleet.ends(*order).await["status"], "CONFIRMED");
    }
}

#[tokio::test]
async fn a_replay_survives_a_crash_anywhere() {
    let (mut fleet, stock) = beginning().await;
    for crash in crashes(&[LettersTaken, Published, LetterSettled, LetterGone]) {
        let orders = die(&fleet, &stock, LETTERS).await;
        mend(&stock, TABLE).await;
        survives(&fleet, &REPLAY, crash).await;
        are_confirmed(&fleet, &orders).await;
    }
    fleet.drained().await;
    assert_eq!(ready(&fleet, DLQ).await, 0);
    fleet.verify().await;
    fleet.close().await;
}

#[tokio::test]
async fn what_is_half_purged_lives_again_whatever_crashes() {
    let (mut fleet, stock) = beginning().await;
    for crash in crashes(&[LetterRevived, LetterSettled]) {
        let orders = die(&fleet, &stock, LETTERS).await;
        mend(&stock, TABLE).await;
        let purge = fleet.saga_crashing(&PURGE, LetterSettled).await;
        assert_eq!(purge.signal, Some(nix::libc::SIGABRT), "{purge:?}");
        survives(&fleet, &REPLAY, crash).await;
        are_confirmed(&fleet, &orders).await;
    }
    fleet.drained().await;
    assert_eq!(ready(&fleet, DLQ).await, 0);
    assert_eq!(fleet.verify().await.purged, []);
    fleet.close().await;
}

#[tokio::test]
async fn a_purge_survives_a_crash_anywhere() {
    let (mut fleet, stock) = beginning().await;
    let mut thrown_away = 0;
    for crash in crashes(&[LettersTaken, LetterSettled, LetterGone]) {
        let orders = die(&fleet, &stock, LETTERS).await;
        mend(&stock, TABLE).await;
        survives(&fleet, &PURGE, crash).await;
        thrown_away += orders.len();
    }
    fleet.drained().await;
    assert_eq!(ready(&fleet, DLQ).await, 0);
    assert_eq!(fleet.verify().await.purged.len(), thrown_away);
    fleet.close().await;
}

#[tokio::test]
async fn a_repair_survives_a_crash_anywhere() {
    let (mut fleet, stock) = beginning().await;
    let mut repaired = 0;
    let points = [LettersTaken, RepairNoted, Published, LetterSettled, LetterGone];
    for (number, crash) in crashes(&points).into_iter().enumerate() {
        let orders = die(&fleet, &stock, LETTERS).await;
        mend(&stock, TABLE).await;
        let lines = fleet.file(&format!("lines {number}")).display().to_string();
        assert_eq!(fleet.saga(&["dlq", "export", QUEUE, "--to", &lines]).await.code, Some(0));
        survives(&fleet, &["dlq", "import", &lines, "--replay", "--new-id"], crash).await;
        are_confirmed(&fleet, &orders).await;
        repaired += orders.len();
    }
    fleet.drained().await;
    assert_eq!(ready(&fleet, DLQ).await, 0);
    assert_eq!(fleet.verify().await.repaired.len(), repaired);
    fleet.close().await;
}
