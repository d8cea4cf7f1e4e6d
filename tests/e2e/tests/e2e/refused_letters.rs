//! A failed message that neither its dead-letter nor its retry queue takes holds up no other one.

use crate::poison::{struck, with_fragile};
use e2e::{Fleet, until};
use messaging::{Message, header};
use sqlx::PgPool;
use std::collections::BTreeSet;

const QUEUE: &str = "fragile.hammer-struck";
const DEAD: &str = "fragile.hammer-struck.dlq";
const NEIGHBOURS: i64 = 30;

fn poison() -> Message {
    Message { body: b"{not json".to_vec(), ..struck(false, false) }
}

async fn started() -> (Fleet, PgPool) {
    let fleet = with_fragile().await;
    let pool = fleet.pool("shipping").await;
    (fleet, pool)
}

async fn put_neighbours(fleet: &Fleet) {
    for _ in 0..NEIGHBOURS {
        fleet.broker.put(QUEUE, &struck(false, false)).await;
    }
}

/// They take no more.
async fn fill_dead_letters(fleet: &Fleet) {
    for _ in 0..2 {
        fleet.broker.put(DEAD, &struck(false, false)).await;
    }
    fleet.broker.limit("[.]dlq$", 1).await;
}

async fn handled(pool: &PgPool, expected: i64) {
    until(|| async {
        let count = sqlx::query_scalar("SELECT count(*) FROM idempotency_keys");
        let count: i64 = count.fetch_one(pool).await.map_err(|why| why.to_string())?;
        if count == expected { Ok(()) } else { Err(format!("{count} of {expected}")) }
    })
    .await;
}

/// Stops the service. Returns what it leaves in its queue; its session has never ended before.
async fn left_behind(fleet: &mut Fleet) -> Vec<Message> {
    let process = fleet.take("fragile");
    let log = process.log();
    assert!(!log.contains("broker connected; consuming"), "a session was rebuilt:\n{log}");
    assert!(process.stop().await.0.success());
    fleet.broker.drain(QUEUE).await
}

#[tokio::test]
async fn a_dead_letter_waits_until_its_queue_takes_it_and_others_are_handled() {
    let (mut fleet, pool) = started().await;
    fill_dead_letters(&fleet).await;
    let poison = poison();
    fleet.broker.put(QUEUE, &poison).await;
    put_neighbours(&fleet).await;
    handled(&pool, NEIGHBOURS).await;
    let told = "fragile.hammer-struck.dlq refuses failed messages: they wait";
    fleet.logs("fragile", told).await;
    put_neighbours(&fleet).await;
    handled(&pool, 2 * NEIGHBOURS).await;
    assert_eq!(fleet.broker.ready(&[DEAD.into()]).await, [2]);
    // What `saga doctor` sees, as soon as RabbitMQ has counted.
    let broker = audit::Broker::connect(&fleet.endpoints()).await.unwrap();
    until(|| async {
        let full = broker.full().await.map_err(|why| format!("{why:#}"))?;
        if full == [format!("{DEAD} has reached its max-length of 1")] {
            Ok(())
        } else {
            Err(format!("{full:?}"))
        }
    })
    .await;

    // There is room again.
    fleet.broker.drain(DEAD).await;
    fleet.holds(DEAD, 1).await;
    assert_eq!(broker.count(DEAD).await.unwrap(), 1);
    let letter = fleet.broker.drain(DEAD).await.swap_remove(0);
    assert_eq!((&letter.id, &letter.body), (&poison.id, &poison.body));
    assert_eq!(letter.text(header::QUEUE).as_deref(), Some(QUEUE));
    let why = letter.text(header::REASON).unwrap_or_default();
    assert!(why.contains("not a valid hammer.struck"), "{why}");
    assert_eq!(letter.number(header::ATTEMPT), Some(0));
    assert_eq!(letter.text(header::DEAD), None);
    assert_eq!(left_behind(&mut fleet).await, []);
    fleet.close().await;
}

#[tokio::test]
async fn without_its_queue_a_dead_letter_waits_and_others_are_handled() {
    let (mut fleet, pool) = started().await;
    // As where no policy names an alternate exchange.
    fleet.broker.unbind("unrouted", "unrouted", "").await;
    fleet.broker.delete_queue(DEAD).await;
    let poison = poison();
    fleet.broker.put(QUEUE, &poison).await;
    put_neighbours(&fleet).await;
    handled(&pool, NEIGHBOURS).await;
    fleet.logs("fragile", "fragile.hammer-struck.dlq refuses failed messages").await;
    put_neighbours(&fleet).await;
    handled(&pool, 2 * NEIGHBOURS).await;

    fleet.broker.fill(DEAD, 0).await;
    fleet.broker.bind(DEAD, "fragile.dlx", DEAD).await;
    fleet.holds(DEAD, 1).await;
    assert_eq!(fleet.broker.drain(DEAD).await[0].id, poison.id);
    assert_eq!(left_behind(&mut fleet).await, []);
    fleet.close().await;
}

#[tokio::test]
async fn what_no_queue_takes_is_held_and_others_are_handled() {
    let (mut fleet, pool) = started().await;
    fill_dead_letters(&fleet).await;
    for tier in ["fragile.retry.200ms", "fragile.retry.800ms"] {
        fleet.broker.delete_queue(tier).await;
    }
    let culprits = [poison(), struck(false, true)];
    for message in &culprits {
        fleet.broker.put(QUEUE, message).await;
    }
    put_neighbours(&fleet).await;
    handled(&pool, NEIGHBOURS).await;
    let told = "fragile.hammer-struck.dlq refuses failed messages: they stay unacknowledged";
    fleet.logs("fragile", told).await;
    put_neighbours(&fleet).await;
    handled(&pool, 2 * NEIGHBOURS).await;
    assert_eq!(fleet.broker.ready(&[DEAD.into()]).await, [2]);

    // The limit ends, and no message leaves.
    fleet.broker.end_limit().await;
    fleet.holds(DEAD, 4).await;
    let letters = fleet.broker.drain(DEAD).await.into_iter();
    let ids: BTreeSet<_> = letters.skip(2).map(|letter| letter.id).collect();
    assert_eq!(ids, culprits.map(|culprit| culprit.id).into());
    assert_eq!(left_behind(&mut fleet).await, []);
    fleet.close().await;
}
