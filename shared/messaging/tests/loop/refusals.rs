//! Dead-letter and retry queues that refuse messages, since they are full.

use crate::shop::{DEAD, IMPOSSIBLE, PANICS, QUEUE, Shop, paid, until};
use messaging::{Header, Message, dead_letters, header};
use std::time::Duration;

const TIERS: [&str; 3] = ["till.retry.1s", "till.retry.5s", "till.retry.30s"];

/// Handled and acknowledged, all but so many.
async fn passes(shop: &Shop, order: u128, left: usize) {
    shop.pay(order, 1);
    until(|| async { shop.total(order).await == 1 }).await;
    until(|| async { shop.broker.depth(QUEUE) == left }).await;
}

fn dead(shop: &Shop) -> Vec<Message> {
    shop.broker.messages(DEAD)
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_that_is_refused_waits_and_is_not_handled_again() {
    let shop = Shop::open().await;
    shop.broker.limit(DEAD, Some(0));
    let (culprit, poison) = (shop.pay(1, PANICS), Message { kind: None, ..paid(2, 1) });
    shop.broker.inject(QUEUE, poison.clone());
    for order in 3..30 {
        passes(&shop, order, 0).await;
        tokio::time::sleep(Duration::from_secs(11)).await;
    }
    assert_eq!(dead(&shop), []);
    until(|| async { shop.broker.depth("till.retry.30s") == 2 }).await;
    let waiting = &shop.broker.messages("till.retry.30s")[0];
    assert_eq!(waiting.text(header::DEAD).as_deref(), Some(DEAD));
    shop.broker.limit(DEAD, None);
    until(|| async { dead(&shop).len() == 2 }).await;
    shop.quiet().await;
    for letter in dead(&shop) {
        let (sent, attempts) = if letter.id == culprit.id { (&culprit, 4) } else { (&poison, 0) };
        assert_eq!((&letter.id, &letter.body), (&sent.id, &sent.body));
        assert_eq!(letter.headers[header::ATTEMPT], Header::Number(attempts));
        assert_eq!((letter.text(header::DEAD), letter.text(header::DELAY)), (None, None));
        let why = letter.text(header::REASON).unwrap();
        assert!(why.contains(if attempts > 0 { "thirteen" } else { "type is missing" }), "{why}");
    }
    assert!(!shop.standing.has_changed().unwrap(), "no session ended");
    shop.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_message_that_its_retry_queue_refuses_is_held_and_its_neighbours_are_acknowledged() {
    let shop = Shop::open().await;
    shop.broker.limit(TIERS[0], Some(0));
    let culprit = shop.pay(1, PANICS);
    for order in 2..30 {
        passes(&shop, order, 1).await;
        tokio::time::sleep(Duration::from_secs(11)).await;
    }
    assert_eq!(shop.broker.messages(QUEUE), std::slice::from_ref(&culprit));
    shop.broker.limit(TIERS[0], None);
    until(|| async { dead(&shop).len() == 1 }).await;
    shop.quiet().await;
    assert_eq!(
        (&dead(&shop)[0].id, dead(&shop)[0].number(header::ATTEMPT)),
        (&culprit.id, Some(4))
    );
    assert!(!shop.standing.has_changed().unwrap(), "no session ended");
    shop.close().await;
}

#[tokio::test(start_paused = true)]
async fn what_no_queue_takes_is_held_until_its_own_does_or_the_service_stops() {
    let shop = Shop::open().await;
    for queue in TIERS.into_iter().chain([DEAD]) {
        shop.broker.limit(queue, Some(0));
    }
    let culprit = shop.pay(1, IMPOSSIBLE);
    let unbound = shop.broker.unbind(TIERS[0]);
    let second = shop.pay(2, PANICS);
    for order in 3..30 {
        passes(&shop, order, 2).await;
    }
    shop.broker.limit(DEAD, None);
    until(|| async { dead(&shop).len() == 2 }).await;
    shop.quiet().await;
    assert_eq!(
        dead(&shop).iter().map(|one| &one.id).collect::<Vec<_>>(),
        [&culprit.id, &second.id]
    );

    shop.broker.bind(unbound);
    let third = shop.pay(1, PANICS);
    passes(&shop, 40, 1).await;
    let broker = shop.broker.clone();
    shop.close().await;
    assert_eq!(broker.messages(QUEUE), [third], "the next process gets it as it was");
    assert_eq!(broker.messages(&dead_letters(QUEUE)).len(), 2);
}
