//! A database or a retry queue that is missing for one service alone.

use crate::shop::{BACK_DOOR, DEAD, LOCKED, PANICS, QUEUE, Shop, paid, until};
use messaging::{ConsumerState, Header, header};
use std::{sync::atomic::Ordering, time::Duration};
use tokio::time::Instant;

const TIER: &str = "till.retry.30s";

#[tokio::test(start_paused = true)]
async fn while_the_database_is_away_messages_are_left_to_other_copies() {
    let mut shop = Shop::open().await;
    shop.message_store.fail_next(u32::MAX);
    shop.pay(1, 5);
    shop.standing.wait_for(|now| *now == ConsumerState::Away).await.unwrap();
    // As another copy does.
    until(|| async { shop.broker.drain(QUEUE).len() == 1 }).await;
    shop.pay(2, 5);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(shop.broker.drain(QUEUE).len(), 1, "it takes none");
    shop.message_store.fail_next(0);
    shop.pay(3, 5);
    until(|| async { shop.total(3).await == 5 }).await;
    shop.close().await;
}

#[tokio::test(start_paused = true)]
async fn without_its_retry_queue_a_failed_message_is_a_dead_letter_and_others_flow() {
    let shop = Shop::open().await;
    shop.broker.unbind("till.retry.1s");
    let message = shop.pay(1, PANICS);
    shop.pay(2, 5);
    until(|| async { shop.broker.messages(DEAD).len() == 1 }).await;
    let dead = &shop.broker.messages(DEAD)[0];
    assert_eq!((&dead.id, &dead.headers[header::ATTEMPT]), (&message.id, &Header::Number(1)));
    let why = dead.text(header::REASON).unwrap();
    assert!(why.starts_with("RETRY_DELAYS has 1s and RabbitMQ has no queue for it: "), "{why}");
    shop.quiet().await;
    assert_eq!(shop.total(2).await, 5);
    shop.close().await;
}

#[tokio::test(start_paused = true)]
async fn an_order_that_is_locked_holds_up_no_other() {
    let shop = Shop::open().await;
    shop.is_locked.store(true, Ordering::SeqCst);
    for order in 1..=20 {
        shop.pay(order, if order == 1 { LOCKED } else { 1 });
    }
    shop.broker.inject(BACK_DOOR, paid(21, 1));
    until(|| async { shop.message_store.handled().await.len() == 20 }).await;
    until(|| async { shop.broker.depth(TIER) == 1 }).await;
    // Its message returns from the tier again and again, uncounted, and fails no other message.
    for order in 22..=40 {
        let began = Instant::now();
        shop.pay(order, 1);
        until(|| async { shop.total(order).await == 1 }).await;
        assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
        tokio::time::sleep(Duration::from_secs(11)).await;
    }
    let told = shop.held_up.told().unwrap();
    assert!(told.contains(" for 2") && told.ends_with(": a lock timeout"), "{told}");
    until(|| async { shop.broker.depth(TIER) == 1 }).await;
    assert_eq!(shop.broker.messages(TIER)[0].headers[header::ATTEMPT], Header::Number(0));
    shop.is_locked.store(false, Ordering::SeqCst);
    until(|| async { shop.total(1).await == LOCKED }).await;
    until(|| async { shop.held_up.told().is_none() }).await;
    assert_eq!(shop.broker.messages(DEAD), []);
    assert!(!shop.standing.has_changed().unwrap(), "it has never been away");
    shop.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_locked_order_whose_message_was_returned_twice_holds_up_no_other() {
    let shop = Shop::open().await;
    shop.is_locked.store(true, Ordering::SeqCst);
    shop.pay(1, LOCKED);
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_secs(2)).await;
        shop.broker.cut();
    }
    for order in 2..=3 {
        shop.pay(order, 1);
        until(|| async { shop.total(order).await == 1 }).await;
    }
    shop.is_locked.store(false, Ordering::SeqCst);
    until(|| async { shop.total(1).await == LOCKED }).await;
    shop.close().await;
}

#[tokio::test(start_paused = true)]
async fn while_all_is_locked_no_batch_is_in_hand_for_long() {
    let shop = Shop::open().await;
    shop.is_locked.store(true, Ordering::SeqCst);
    for order in 1..=100 {
        shop.pay(order, LOCKED);
    }
    let began = Instant::now();
    until(|| async { shop.broker.depth(TIER) == 100 }).await;
    assert!(began.elapsed() < Duration::from_mins(1), "{:?}", began.elapsed());
    shop.is_locked.store(false, Ordering::SeqCst);
    until(|| async { shop.message_store.handled().await.len() == 100 }).await;
    shop.close().await;
}
