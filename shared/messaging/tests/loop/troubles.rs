//! A database or a retry queue that is missing for one service alone.

use crate::shop::{DEAD, PANICS, QUEUE, Shop, until};
use messaging::{ConsumerState, Header, header};
use std::time::Duration;

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
