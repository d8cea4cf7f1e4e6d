use super::*;
use crate::on::examples::{ORDER, charge as example};
use messaging::Known;
use std::iter::once;

const ME: Uuid = Uuid::from_u128(1);
const OTHER: Uuid = Uuid::from_u128(2);

async fn migrated() -> PgPool {
    let pool = database::testing::throwaway().await;
    let settings = crate::Settings {
        gateway_timeout: Duration::from_secs(1),
        reap_after: Duration::from_secs(2),
        attempts_max: 5,
        retry_delay: Duration::from_secs(2),
        in_flight_max: 10,
    };
    crate::service(&settings).unwrap().migrate(&pool).await.unwrap();
    pool
}

async fn put(pool: &PgPool, charge: Charge) {
    let mut tx = pool.begin().await.unwrap();
    let mut batch = load(&mut tx, &[charge.order_id]).await.unwrap();
    batch.keep(charge.order_id, charge.into());
    save(&mut tx, &batch).await.unwrap();
    tx.commit().await.unwrap();
}

async fn get(pool: &PgPool) -> Charge {
    let mut tx = pool.begin().await.unwrap();
    load(&mut tx, &[ORDER]).await.unwrap().of(ORDER, &[]).charge.unwrap()
}

#[tokio::test]
async fn what_is_saved_is_loaded_again() {
    let pool = migrated().await;
    let first = Charge { last_error: Some("503".into()), ..example(Status::Pending) };
    put(&pool, first.clone()).await;
    assert_eq!(get(&pool).await, first);
    let later = Charge {
        refund_key: Some(OTHER),
        refund_ref: Some("REF".into()),
        provider_ref: Some("SIM".into()),
        cancel_requested: true,
        claim: Some(ME),
        ..first.rest(Status::Reversing)
    };
    let later = Charge { claim: Some(ME), ..later };
    put(&pool, later.clone()).await;
    assert_eq!(get(&pool).await, later);
}

#[tokio::test]
async fn what_is_due_is_taken_up_once_and_counted() {
    let pool = migrated().await;
    put(&pool, example(Status::Pending).due(Status::Pending, Duration::ZERO)).await;
    let (mine, others) =
        (take_due(&pool, ME, 9).await.unwrap(), take_due(&pool, OTHER, 9).await.unwrap());
    assert_eq!((mine.len(), others.len()), (1, 0));
    assert_eq!((mine[0].status, mine[0].attempts), (Status::Processing, 1));
    assert_eq!(get(&pool).await.claim, Some(ME));
}

#[tokio::test]
async fn a_refund_in_hand_stays_a_refund() {
    let pool = migrated().await;
    put(&pool, example(Status::Approved).due(Status::Reversing, Duration::ZERO)).await;
    let taken = take_due(&pool, ME, 9).await.unwrap();
    let counted = taken.iter().map(|c| (c.status, c.attempts, c.refund_attempts));
    assert!(counted.eq(once((Status::Reversing, 0, 1))));
}

#[tokio::test]
async fn what_is_due_later_waits_and_tells_how_long() {
    let pool = migrated().await;
    assert_eq!(next_due_in(&pool).await.unwrap(), None);
    put(&pool, example(Status::Pending).due(Status::Retrying, Duration::from_secs(60))).await;
    assert_eq!(take_due(&pool, ME, 9).await.unwrap(), []);
    let wait = next_due_in(&pool).await.unwrap().unwrap();
    assert!(wait > Duration::from_secs(50) && wait <= Duration::from_secs(60), "{wait:?}");
}

#[tokio::test]
async fn what_a_crash_left_in_hand_is_taken_over_but_not_counted_again() {
    let pool = migrated().await;
    put(&pool, example(Status::Pending).due(Status::Pending, Duration::ZERO)).await;
    take_due(&pool, ME, 9).await.unwrap();
    let young = take_over(&pool, OTHER, Duration::from_secs(60), 9).await.unwrap();
    assert_eq!(young, []);
    let left = take_over(&pool, OTHER, Duration::ZERO, 9).await.unwrap();
    assert_eq!((left[0].claim, left[0].attempts), (Some(OTHER), 1));
}
