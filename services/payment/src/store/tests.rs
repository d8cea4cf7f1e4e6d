use super::*;
use crate::on::examples::{ORDER, charge as example};
use database::Limits;
use std::iter::once;

const ME: Uuid = Uuid::from_u128(1);
const OTHER: Uuid = Uuid::from_u128(2);

async fn migrated() -> PgMessageStore {
    let pool = database::testing::throwaway().await;
    let settings = crate::settings::usual();
    crate::service(&settings).unwrap().migrate(&pool).await.unwrap();
    PgMessageStore::new(pool)
}

async fn put(message_store: &PgMessageStore, charge: Charge) {
    let tx = message_store.begin().await.unwrap();
    let mut batch = load(&tx, &[charge.order_id]).await.unwrap();
    batch.put(charge.order_id, charge.into());
    save(&tx, &batch);
    tx.commit().await.unwrap();
}

async fn get(message_store: &PgMessageStore) -> Charge {
    let tx = message_store.begin().await.unwrap();
    let found = load(&tx, &[ORDER]).await.unwrap().get(ORDER, &[]).charge.unwrap();
    // Its lock would make the next claim skip this.
    tx.commit().await.unwrap();
    found
}

#[tokio::test]
async fn what_is_saved_is_loaded_again() {
    let message_store = migrated().await;
    let first = Charge { last_error: Some("503".into()), ..example(Status::Pending) };
    put(&message_store, first.clone()).await;
    assert_eq!(get(&message_store).await, first);
    let later = Charge {
        refund_key: Some(OTHER),
        refund_ref: Some("REF".into()),
        provider_ref: Some("SIM".into()),
        cancel_requested: true,
        attempts: 3,
        next_call: Call::Void,
        in_doubt: true,
        look_ups: 2,
        ..first.rest(Status::Reversing)
    };
    let later = Charge { claim: Some(ME), ..later };
    put(&message_store, later.clone()).await;
    assert_eq!(get(&message_store).await, later);
}

#[tokio::test]
async fn what_is_due_is_taken_up_once_and_counted() {
    let message_store = migrated().await;
    put(&message_store, example(Status::Pending).due(Status::Pending, Duration::ZERO)).await;
    let (mine, others) = (
        take_due(&message_store, ME, 9).await.unwrap(),
        take_due(&message_store, OTHER, 9).await.unwrap(),
    );
    assert_eq!((mine.len(), others.len()), (1, 0));
    assert_eq!((mine[0].status, mine[0].attempts), (Status::Processing, 1));
    assert_eq!(get(&message_store).await.claim, Some(ME));
}

#[tokio::test]
async fn a_refund_in_hand_stays_a_refund() {
    let message_store = migrated().await;
    put(&message_store, example(Status::Approved).due(Status::Reversing, Duration::ZERO)).await;
    let taken = take_due(&message_store, ME, 9).await.unwrap();
    let counted = taken.iter().map(|c| (c.status, c.attempts, c.refund_attempts));
    assert!(counted.eq(once((Status::Reversing, 0, 1))));
}

#[tokio::test]
async fn only_what_is_open_is_counted() {
    let message_store = migrated().await;
    let open = async || {
        let counted = count_open(&message_store.pool).await.unwrap().into_iter();
        let counted = counted.map(|(status, count, _)| (status, count));
        counted.filter(|(_, count)| *count > 0).collect::<Vec<_>>()
    };
    put(&message_store, example(Status::Pending).due(Status::Pending, Duration::ZERO)).await;
    assert_eq!(open().await, [(Status::Pending, 1)]);
    take_due(&message_store, ME, 9).await.unwrap();
    assert_eq!(open().await, [(Status::Processing, 1)]);
    put(&message_store, get(&message_store).await.rest(Status::Approved)).await;
    assert_eq!(open().await, []);
}

#[tokio::test]
async fn what_is_due_later_waits_and_tells_how_long() {
    let message_store = migrated().await;
    assert_eq!(next_due_in(&message_store.pool).await.unwrap(), None);
    put(&message_store, example(Status::Pending).due(Status::Retrying, Duration::from_secs(60)))
        .await;
    assert_eq!(take_due(&message_store, ME, 9).await.unwrap(), []);
    let wait = next_due_in(&message_store.pool).await.unwrap().unwrap();
    assert!(wait > Duration::from_secs(50) && wait <= Duration::from_secs(60), "{wait:?}");
}

#[tokio::test]
async fn a_look_up_and_a_void_are_counted_apart() {
    let message_store = migrated().await;
    for (call, look_ups) in [(Call::LookUp, 1), (Call::Void, 2)] {
        let before =
            if look_ups == 1 { example(Status::Retrying) } else { get(&message_store).await };
        let due = Charge { next_call: call, in_doubt: true, ..before };
        put(&message_store, due.due(Status::Retrying, Duration::ZERO)).await;
        let taken = take_due(&message_store, ME, 9).await.unwrap();
        let counted = (taken[0].next_call, taken[0].attempts, taken[0].look_ups);
        assert_eq!(counted, (call, 0, look_ups));
        assert_eq!((taken[0].status, taken[0].in_doubt), (Status::Processing, true));
    }
}

#[tokio::test]
async fn a_charge_that_a_crash_left_in_hand_is_due_to_be_looked_up() {
    let message_store = migrated().await;
    put(&message_store, example(Status::Pending).due(Status::Pending, Duration::ZERO)).await;
    take_due(&message_store, ME, 9).await.unwrap();
    assert_eq!(put_back(&message_store, Duration::from_secs(60), 9).await.unwrap(), 0, "too young");
    assert_eq!(put_back(&message_store, Duration::ZERO, 9).await.unwrap(), 1);
    let left = get(&message_store).await;
    assert_eq!((left.status, left.claim, left.attempts), (Status::Retrying, None, 1));
    assert_eq!((left.in_doubt, left.next_call), (true, Call::LookUp));
    let taken = take_due(&message_store, OTHER, 9).await.unwrap();
    assert_eq!((taken[0].next_call, taken[0].attempts), (Call::LookUp, 1));
    put_back(&message_store, Duration::ZERO, 9).await.unwrap();
    assert_eq!(get(&message_store).await.next_call, Call::LookUp);
}

/// Two copies; the first has a charge in hand.
async fn copies() -> (PgMessageStore, PgMessageStore) {
    let url = database::testing::throwaway_url().await;
    // Names that no other test on this server has.
    let database = url.rsplit_once('/').unwrap().1;
    let copy = |name: &str| {
        let name = format!("{name} {database}");
        PgMessageStore::new(PgPool::new(&url, &name, 4, Limits::DEFAULT).unwrap())
    };
    let (one, other) = (copy("copy 1"), copy("copy 2"));
    crate::service(&crate::settings::usual()).unwrap().migrate(&one.pool).await.unwrap();
    put(&one, example(Status::Pending).due(Status::Pending, Duration::ZERO)).await;
    take_due(&one, ME, 9).await.unwrap();
    (one, other)
}

#[tokio::test]
async fn the_charges_of_a_copy_are_taken_over_once_it_has_no_connection() {
    let long = Duration::from_hours(1);
    let (one, other) = copies().await;
    put(&other, Charge { cancel_requested: true, ..get(&other).await }).await;
    assert_eq!(put_back(&other, long, 9).await.unwrap(), 0, "its holder lives");
    one.pool.close();
    drop(one);
    let gone = "SELECT COUNT(*) FROM pg_stat_activity
         WHERE application_name = 'copy 1 ' || current_database()";
    while sqlx::query_scalar::<_, i64>(gone).fetch_one(&other.pool).await.unwrap() > 0 {}
    assert_eq!(put_back(&other, long, 9).await.unwrap(), 1);
    assert_eq!(get(&other).await.next_call, Call::LookUp);
}

#[tokio::test]
async fn a_claim_of_ones_own_that_is_not_in_hand_is_due_to_be_looked_up() {
    let (one, other) = copies().await;
    let (now, long) = (Duration::ZERO, Duration::from_hours(1));
    assert_eq!(put_back_lost(&one, now, |claim| claim == ME).await.unwrap(), 0, "in hand");
    assert_eq!(put_back_lost(&other, now, |_| false).await.unwrap(), 0, "another's");
    assert_eq!(put_back_lost(&one, long, |_| false).await.unwrap(), 0, "too young");
    assert_eq!(put_back_lost(&one, now, |_| false).await.unwrap(), 1);
    let left = get(&one).await;
    assert_eq!((left.claim, left.in_doubt, left.next_call), (None, true, Call::LookUp));
}

#[tokio::test]
async fn a_mark_on_a_charge_in_hand_leaves_it_in_hand_and_as_old_as_it_is() {
    let message_store = migrated().await;
    put(&message_store, example(Status::Pending).due(Status::Pending, Duration::ZERO)).await;
    take_due(&message_store, ME, 9).await.unwrap();
    sqlx::query("UPDATE payments SET claimed_at = now() - INTERVAL '1 hour'")
        .execute(&message_store.pool)
        .await
        .unwrap();
    put(&message_store, Charge { cancel_requested: true, ..get(&message_store).await }).await;
    assert_eq!(get(&message_store).await.claim, Some(ME));
    assert_eq!(put_back(&message_store, Duration::from_secs(60), 9).await.unwrap(), 1);
}

#[tokio::test]
async fn a_refund_that_a_crash_left_in_hand_is_due_again_and_nothing_else() {
    let message_store = migrated().await;
    put(&message_store, example(Status::Approved).due(Status::Reversing, Duration::ZERO)).await;
    take_due(&message_store, ME, 9).await.unwrap();
    put_back(&message_store, Duration::ZERO, 9).await.unwrap();
    let left = get(&message_store).await;
    assert_eq!((left.status, left.in_doubt), (Status::Reversing, false));
    assert_eq!(take_due(&message_store, OTHER, 9).await.unwrap()[0].refund_attempts, 2);
}

#[tokio::test]
async fn the_oldest_refund_is_known_by_its_cause() {
    let message_store = migrated().await;
    for (order, cause) in [(2, 3), (3, 2)] {
        let cause = Cause { event_id: EventId::from_u128(cause), trace: None };
        let refund = example(Status::Approved).due(Status::Reversing, Duration::ZERO);
        put(&message_store, Charge { order_id: OrderId::from_u128(order), cause, ..refund }).await;
    }
    let counted = count_open(&message_store.pool).await.unwrap();
    assert!(counted.contains(&(Status::Reversing, 2, Some(EventId::from_u128(2)))), "{counted:?}");
    assert!(counted.contains(&(Status::Pending, 0, None)));
}

/// As after a release that knew more was rolled back.
#[tokio::test]
async fn a_payment_that_this_release_cannot_read_holds_up_no_other() {
    let message_store = migrated().await;
    let execute = async |statement: &'static str| {
        sqlx::query(statement).execute(&message_store.pool).await.unwrap();
    };
    let due = example(Status::Pending).due(Status::Pending, Duration::ZERO);
    put(&message_store, Charge { order_id: OrderId::from_u128(9), ..due.clone() }).await;
    execute("UPDATE payments SET payment_method = 'wallet', due_at = now() - INTERVAL '1 hour'")
        .await;
    put(&message_store, due).await;
    assert_eq!(take_due(&message_store, ME, 1).await.unwrap(), [], "it comes first, once");
    assert_eq!(take_due(&message_store, ME, 1).await.unwrap()[0].order_id, ORDER);
    execute("UPDATE payments SET claim = (SELECT claim FROM payments WHERE claim IS NOT NULL)")
        .await;
    execute("UPDATE payments SET claimed_at = now() - INTERVAL '1 hour'").await;
    assert_eq!(put_back(&message_store, Duration::ZERO, 9).await.unwrap(), 1);
    assert_eq!(get(&message_store).await.next_call, Call::LookUp);
}
