//! Tests the consumer loop over the in-memory broker, on virtual time: its guarantees for each kind
//! of failure.

mod refusals;
mod shop;
mod troubles;

use messaging::{ConsumerState, Header, Message, header};
use shop::*;
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

#[tokio::test(start_paused = true)]
async fn a_message_changes_the_state_once_and_is_answered_once() {
    let shop = Shop::open().await;
    let message = shop.pay(1, 5);
    shop.broker.inject(QUEUE, message.clone());
    shop.quiet().await;
    shop.broker.inject(QUEUE, message.clone());
    shop.quiet().await;
    assert_eq!((shop.total(1).await, shop.counted()), (5, 1));
    let answer = &shop.broker.messages("book.till-counted")[0];
    assert_eq!(answer.text(header::CAUSE), message.id);
    shop.close().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_handled_is_acknowledged_soon_and_at_the_end() {
    let shop = Shop::open().await;
    shop.pay(1, 5);
    until(|| async { shop.total(1).await == 5 }).await;
    assert_eq!(shop.broker.depth(QUEUE), 1, "a second one may come");
    shop.quiet().await;
    shop.pay(1, 2);
    until(|| async { shop.total(1).await == 7 }).await;
    let broker = shop.broker.clone();
    assert_eq!(broker.depth(QUEUE), 1);
    shop.close().await;
    assert_eq!(broker.depth(QUEUE), 0);
}

#[tokio::test(start_paused = true)]
async fn a_deferrable_message_is_handled_with_the_next_urgent_one_or_a_little_later() {
    let longest = Duration::from_millis(50);
    let shop = Shop::with(|queue| queue.can_wait = true).await;
    let began = Instant::now();
    shop.pay(1, 5);
    until(|| async { shop.total(1).await == 5 }).await;
    assert!(began.elapsed() >= longest, "no urgent one came");

    let began = Instant::now();
    shop.pay(1, 2);
    tokio::time::sleep(longest / 5).await;
    assert_eq!(shop.total(1).await, 5, "it waits");
    shop.broker.inject(BACK_DOOR, paid(2, 7));
    until(|| async { shop.total(2).await == 7 }).await;
    assert_eq!(shop.total(1).await, 7, "both in one transaction");
    assert!(began.elapsed() < longest);
    shop.close().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_in_a_transaction_at_the_end_is_acknowledged() {
    let shop = Shop::open().await;
    shop.pay(1, SLOW);
    tokio::time::sleep(Duration::from_millis(10)).await;
    let (broker, message_store) = (shop.broker.clone(), shop.message_store.clone());
    shop.close().await;
    assert_eq!(message_store.handled().await.len(), 1);
    assert_eq!(broker.depth(QUEUE), 0);
}

#[tokio::test(start_paused = true)]
async fn messages_of_one_batch_see_each_other() {
    let shop = Shop::open().await;
    for coins in [1, 2, 3] {
        shop.pay(1, coins);
    }
    shop.quiet().await;
    assert_eq!((shop.total(1).await, shop.counted()), (6, 3));
    shop.close().await;
}

#[tokio::test(start_paused = true)]
async fn all_queues_of_a_service_are_served_and_each_settles_its_own() {
    let shop = Shop::open().await;
    for coins in 1..=250 {
        shop.broker.inject(QUEUE, paid(1, coins % 10));
    }
    shop.broker.inject(BACK_DOOR, paid(2, 7));
    shop.broker.inject(BACK_DOOR, Message { kind: None, ..paid(3, 1) });
    until(|| async { shop.total(2).await == 7 }).await;
    until(|| async { shop.broker.messages(BACK_DOOR).is_empty() }).await;
    shop.quiet().await;
    assert_eq!(shop.total(1).await, 25 * 45);
    assert_eq!(shop.broker.messages(DEAD), []);
    let dead = &shop.broker.messages(&messaging::dead_letters(BACK_DOOR))[0];
    assert_eq!(dead.text(header::QUEUE).as_deref(), Some(BACK_DOOR));
    shop.close().await;
}

#[tokio::test(start_paused = true)]
async fn poison_is_dead_at_once_with_its_bytes_untouched_and_everything_else_flows() {
    let shop = Shop::open().await;
    let good = paid(1, 1);
    let poisons = [
        (
            Message { body: b"{not json".to_vec(), ..good.clone() },
            "the body is not a valid customer.paid",
        ),
        (
            Message { body: b"{\"order_id\":7}".to_vec(), ..good.clone() },
            "the body is not a valid customer.paid",
        ),
        (
            Message { kind: Some("customer.sneezed".into()), ..good.clone() },
            "does not match this queue",
        ),
        (Message { kind: None, ..good.clone() }, "type is missing"),
        (Message { id: None, ..good.clone() }, "message_id is missing"),
        (Message { id: Some(Uuid::nil().to_string()), ..good.clone() }, "not a UUID of version 7"),
        (good.clone().with(header::VERSION, 2), "unknown schema-version 2"),
        (good.clone().with(header::CAUSE, "me"), "is not a UUID"),
        (Message { correlation_id: Some("x".into()), ..good.clone() }, "differ"),
    ];
    for (poison, _) in &poisons {
        shop.broker.inject(QUEUE, poison.clone());
    }
    shop.pay(2, 5);
    shop.quiet().await;
    assert_eq!(shop.total(2).await, 5);
    let dead = shop.broker.messages(DEAD);
    assert_eq!(dead.len(), poisons.len());
    for (dead, (poison, reason)) in dead.iter().zip(&poisons) {
        assert_eq!((&dead.body, &dead.kind, &dead.id), (&poison.body, &poison.kind, &poison.id));
        let why = dead.text(header::REASON).unwrap();
        assert!(why.contains(reason), "{why:?} does not say {reason:?}");
        assert_eq!(dead.text(header::QUEUE).as_deref(), Some(QUEUE));
    }
    shop.close().await;
}

#[tokio::test(start_paused = true)]
async fn what_nobody_can_know_any_more_is_dead_at_once_and_says_what_to_do() {
    let shop = Shop::open().await;
    for (order, days_ago) in [(1, 29), (2, 31), (3, -2), (4, 0)] {
        shop.broker.inject(QUEUE, said_days_ago(paid(order, 1), days_ago));
    }
    until(|| async { shop.broker.messages(DEAD).len() == 2 }).await;
    shop.quiet().await;
    let totals =
        [shop.total(1).await, shop.total(2).await, shop.total(3).await, shop.total(4).await];
    assert_eq!(totals, [1, 0, 0, 1]);
    assert_eq!(shop.message_store.handled().await.len(), 2);
    let why: Vec<_> = shop.broker.messages(DEAD).iter().map(|m| m.text(header::REASON)).collect();
    for (why, begins) in why.into_iter().flatten().zip(["expired: ", "from the future: "]) {
        assert!(why.starts_with(begins) && why.contains("--new-id"), "{why}");
    }
    shop.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_message_that_panics_passes_every_tier_and_its_neighbours_pass() {
    let shop = Shop::open().await;
    let started = Instant::now();
    let culprit = shop.pay(1, PANICS);
    shop.pay(2, 5);
    until(|| async { shop.broker.messages(DEAD).len() == 1 }).await;
    assert_eq!(shop.total(2).await, 5);
    let waited = started.elapsed().as_secs();
    assert!((36..40).contains(&waited), "1 s, 5 s and 30 s are {waited} s");
    let dead = &shop.broker.messages(DEAD)[0];
    assert_eq!((&dead.id, &dead.body), (&culprit.id, &culprit.body));
    assert_eq!(dead.headers[header::ATTEMPT], Header::Number(4));
    assert!(dead.text(header::REASON).unwrap().contains("thirteen coins"));
    shop.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_compensation_is_tried_for_ever() {
    let shop = Shop::with(|queue| queue.compensates = true).await;
    shop.pay(1, PANICS);
    until(|| async {
        let waiting = shop.broker.messages("till.retry.30s");
        waiting.first().and_then(|message| message.number(header::ATTEMPT)) == Some(9)
    })
    .await;
    assert_eq!(shop.broker.messages(DEAD), []);
    shop.close().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_impossible_is_dead_at_once_and_may_be_handled_after_a_replay() {
    let shop = Shop::open().await;
    shop.pay(1, IMPOSSIBLE);
    shop.pay(1, 2);
    until(|| async { shop.broker.messages(DEAD).len() == 1 }).await;
    shop.quiet().await;
    assert_eq!(shop.total(1).await, 2);
    let dead = &shop.broker.messages(DEAD)[0];
    assert_eq!(dead.text(header::REASON).as_deref(), Some("fourteen coins"));
    let id: Uuid = dead.id.as_ref().unwrap().parse().unwrap();
    let mut handled = shop.message_store.handled().await.into_iter();
    assert!(!handled.any(|row| row.event_id == id), "a replay would have no effect");
    shop.close().await;
}

#[tokio::test(start_paused = true)]
async fn only_the_message_that_cannot_be_saved_pays() {
    let shop = Shop::open().await;
    for order in 1..=20 {
        shop.pay(order, if order == 7 { UNSAVEABLE } else { 1 });
    }
    shop.quiet().await;
    until(|| async { shop.broker.messages(DEAD).len() == 1 }).await;
    assert_eq!(shop.message_store.data().await.len(), 19);
    assert_eq!(shop.counted(), 19);
    shop.close().await;
}

#[tokio::test(start_paused = true)]
async fn another_content_under_a_known_id_is_dead() {
    let shop = Shop::open().await;
    let message = shop.pay(1, 5);
    shop.quiet().await;
    let forged = Message { body: paid(1, 500).body, ..message };
    shop.broker.inject(QUEUE, forged);
    until(|| async { shop.broker.messages(DEAD).len() == 1 }).await;
    assert_eq!(shop.total(1).await, 5);
    shop.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_database_that_is_away_counts_as_no_attempt() {
    let shop = Shop::open().await;
    shop.message_store.fail_next(30);
    shop.pay(1, 5);
    shop.quiet().await;
    assert_eq!(shop.total(1).await, 5);
    assert_eq!(shop.broker.messages(DEAD), []);
    shop.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_broken_session_is_rebuilt_and_nothing_is_lost_or_doubled() {
    let mut shop = Shop::open().await;
    for order in 1..=200 {
        shop.pay(order, 1);
        if order % 20 == 0 {
            shop.broker.cut();
            tokio::task::yield_now().await;
        }
    }
    shop.broker.set_down(true);
    shop.standing.wait_for(|now| *now == ConsumerState::Away).await.unwrap();
    shop.broker.set_down(false);
    shop.quiet().await;
    let tills = shop.message_store.data().await;
    assert_eq!(tills.len(), 200);
    assert!(tills.values().all(|till| *till == Till(1)));
    let ids: std::collections::BTreeSet<_> =
        shop.broker.messages("book.till-counted").into_iter().map(|message| message.id).collect();
    assert_eq!(ids.len(), 200, "each answer is published, under one id");
    shop.close().await;
}

#[tokio::test(start_paused = true)]
async fn what_nobody_listens_to_stays_in_the_outbox_until_somebody_does() {
    let shop = Shop::open().await;
    let bindings = shop.broker.unbind("book.till-counted");
    shop.pay(1, 5);
    until(|| async { shop.message_store.unsent().await.len() == 1 }).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(shop.message_store.unsent().await.len(), 1);
    shop.broker.bind(bindings);
    shop.quiet().await;
    assert_eq!(shop.counted(), 1);
    shop.close().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_in_hand_is_finished_when_told_to_stop() {
    let shop = Shop::open().await;
    for order in 1..=500 {
        shop.pay(order, 1);
    }
    until(|| async { shop.total(1).await == 1 }).await;
    let (broker, message_store) = (shop.broker.clone(), shop.message_store.clone());
    shop.close().await;
    let handled = message_store.handled().await.len();
    assert_eq!(handled + broker.messages(QUEUE).len(), 500);
    assert_eq!(message_store.unsent().await.len(), 0, "what was said is published before the end");
}

#[tokio::test(start_paused = true)]
async fn it_has_caught_up_only_when_all_that_waited_is_handled() {
    let mut shop = Shop::open().await;
    shop.broker.set_down(true);
    shop.standing.wait_for(|now| *now == ConsumerState::Away).await.unwrap();
    for order in 0..250 {
        shop.pay(order, 1);
    }
    shop.broker.set_down(false);
    let handled = shop.message_store.clone();
    shop.standing.wait_for(|now| *now == ConsumerState::CaughtUp).await.unwrap();
    assert_eq!(handled.handled().await.len(), 250);
    shop.close().await;
}

/// The connection stays, and nothing arrives on it.
#[tokio::test(start_paused = true)]
async fn a_node_that_is_cut_off_is_left() {
    let mut shop = Shop::open().await;
    shop.standing.wait_for(|now| *now == ConsumerState::CaughtUp).await.unwrap();
    shop.broker.cut_off();
    shop.pay(1, 1);
    until(|| async { shop.total(1).await == 1 }).await;
    shop.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_database_that_was_away_for_long_leaves_it_behind() {
    let mut shop = Shop::open().await;
    shop.message_store.fail_next(20);
    shop.pay(1, 1);
    shop.standing.wait_for(|now| *now == ConsumerState::Away).await.unwrap();
    shop.standing.wait_for(|now| *now == ConsumerState::CaughtUp).await.unwrap();
    assert_eq!(shop.total(1).await, 1);
    shop.close().await;
}

#[tokio::test(start_paused = true)]
async fn what_others_say_when_no_message_is_handled_any_more_is_published_before_the_end() {
    let shop = Shop::open().await;
    let (broker, message_store) = (shop.broker.clone(), shop.message_store.clone());
    shop.stop.cancel();
    shop.consumers_stopped.cancelled().await;
    shop.pay(1, 1);
    shop.say(2).await;
    shop.close().await;
    assert_eq!(broker.messages("book.till-counted").len(), 1);
    assert_eq!(message_store.unsent().await.len(), 0);
    assert_eq!(broker.messages(QUEUE).len(), 1, "the message is the next process'");
}
