//! Tests of the relay over a broker that ends the session at certain events.

use super::*;
use crate::message_store::FAILURES_MAX;
use crate::{Deliveries, MemoryMessageStore, Publication, SystemEnv};
use async_trait::async_trait;
use events::OrderId;
use std::collections::BTreeSet;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

const BYTES_MAX: usize = 100_000;

#[derive(Default)]
struct Picky {
    refuses: BTreeSet<Uuid>,
    /// Takes nothing, as under an alarm.
    silent_until: Option<Instant>,
    has: std::sync::Mutex<Vec<Uuid>>,
}

impl Picky {
    fn has(&self) -> Vec<Uuid> {
        self.has.lock().unwrap().clone()
    }
}

struct PickySession(Arc<Picky>);

#[async_trait]
impl Session for PickySession {
    async fn consume(&self, _: &str) -> Result<Box<dyn Deliveries>, BrokerError> {
        unreachable!("a relay only publishes")
    }

    async fn publisher(&self) -> Result<Box<dyn Publisher>, BrokerError> {
        Ok(Box::new(PickySession(self.0.clone())))
    }

    async fn close(&self) {}
}

#[async_trait]
impl Publisher for PickySession {
    async fn publish(&self, burst: &[Publication]) -> Result<Vec<Confirm>, BrokerError> {
        let ids: Vec<Uuid> =
            burst.iter().map(|one| one.message.id.as_ref().unwrap().parse().unwrap()).collect();
        if ids.iter().any(|id| self.0.refuses.contains(id)) {
            return Err(BrokerError::Ended("501 frame_too_large".into()));
        }
        if self.0.silent_until.is_some_and(|until| Instant::now() < until) {
            sleep(Duration::from_secs(10)).await;
            return Err(BrokerError::away("no answer within 10 s"));
        }
        self.0.has.lock().unwrap().extend(&ids);
        Ok(vec![Confirm::Stored; ids.len()])
    }
}

fn said(number: u128) -> Outgoing {
    Outgoing {
        id: Uuid::from_u128(number),
        event: "order.created".into(),
        version: 1,
        order_id: OrderId::from_u128(number),
        body: "{}".into(),
        caused_by: None,
        trace: None,
    }
}

async fn written(message_store: &MemoryMessageStore<()>, said: &[Outgoing]) {
    let mut tx = message_store.begin().await.unwrap();
    message_store.enqueue(&mut tx, said).await.unwrap();
    message_store.commit(tx).await.unwrap();
}

/// Session after session, as a service has them.
async fn relayed(
    relay: &Relay<MemoryMessageStore<()>>,
    broker: &Arc<Picky>,
    until: Instant,
) -> u32 {
    let mut sessions = 0;
    while Instant::now() < until {
        sessions += 1;
        let (session, stop) = (PickySession(broker.clone()), CancellationToken::new());
        let ended = tokio::time::timeout_at(until, relay.run(&session, &stop)).await;
        if let Ok(Err(_)) = ended {
            sleep(Duration::from_millis(100)).await;
        }
    }
    sessions
}

#[tokio::test(start_paused = true)]
async fn an_event_that_ends_the_session_is_parked_and_holds_up_no_other() {
    let message_store = MemoryMessageStore::<()>::default();
    let (outbox, relay) = Relay::new(message_store.clone(), SystemEnv::shared(), 10, BYTES_MAX);
    let events: Vec<_> = (1..=20).map(said).collect();
    let broker = Arc::new(Picky { refuses: [events[7].id].into(), ..Picky::default() });
    written(&message_store, &events).await;
    outbox.wake(events.clone());
    let sessions = relayed(&relay, &broker, Instant::now() + Duration::from_secs(60)).await;
    let has: BTreeSet<_> = broker.has().into_iter().collect();
    assert_eq!(has.len(), 19, "all others are published");
    let left: Vec<_> = message_store.unsent().await.into_iter().map(|event| event.id).collect();
    assert_eq!(left, [events[7].id], "it stays in the outbox");
    assert_eq!(sessions, FAILURES_MAX.unsigned_abs() + 1, "then it ends no session any more");

    let again = relayed(&relay, &broker, Instant::now() + Duration::from_secs(60)).await;
    assert_eq!(again, 2, "a minute later it is tried again");
}

#[tokio::test(start_paused = true)]
async fn what_has_failed_with_another_goes_out_alone() {
    let message_store = MemoryMessageStore::<()>::default();
    let (_, relay) = Relay::new(message_store.clone(), SystemEnv::shared(), 10, BYTES_MAX);
    let events: Vec<_> = (1..=5).map(said).collect();
    written(&message_store, &events).await;
    let ids: Vec<_> = events.iter().map(|event| event.id).collect();
    assert!(message_store.suspect(&ids, "the broker went").await.unwrap().is_empty());
    let broker = Arc::new(Picky::default());
    relayed(&relay, &broker, Instant::now() + Duration::from_secs(3)).await;
    assert_eq!(broker.has().len(), 5, "once each");
    assert_eq!(message_store.unsent().await, []);
}

#[tokio::test(start_paused = true)]
async fn an_alarm_of_the_broker_parks_no_event_however_long_it_lasts() {
    let message_store = MemoryMessageStore::<()>::default();
    let (_, relay) = Relay::new(message_store.clone(), SystemEnv::shared(), 10, BYTES_MAX);
    let events: Vec<_> = (1..=20).map(said).collect();
    written(&message_store, &events).await;
    let over = Instant::now() + Duration::from_secs(600);
    let broker = Arc::new(Picky { silent_until: Some(over), ..Picky::default() });
    relayed(&relay, &broker, over + Duration::from_secs(40)).await;
    assert_eq!(broker.has().len(), 20, "all are published once the alarm is over");
}

#[tokio::test(start_paused = true)]
async fn what_was_swept_when_the_session_broke_goes_out_with_the_next_one() {
    let message_store = MemoryMessageStore::<()>::default();
    let (_, relay) = Relay::new(message_store.clone(), SystemEnv::shared(), 10, BYTES_MAX);
    let events: Vec<_> = (1..=20).map(said).collect();
    written(&message_store, &events).await;
    let began = Instant::now();
    let silent_until = Some(began + Duration::from_secs(5));
    let broker = Arc::new(Picky { silent_until, ..Picky::default() });
    relayed(&relay, &broker, began + Duration::from_secs(14)).await;
    assert_eq!(broker.has().len(), 20);
}

#[tokio::test(start_paused = true)]
async fn nothing_waits_in_memory_without_a_session_and_no_more_than_there_is_room_for_with_one() {
    let (outbox, relay) =
        Relay::new(MemoryMessageStore::<()>::default(), SystemEnv::shared(), 10, BYTES_MAX);
    let waiting = async || relay.fresh.lock().await.len();
    for number in 0..100 {
        outbox.wake(vec![said(number)]);
    }
    assert_eq!(waiting().await, 0);
    relay.room.open();
    let size = said(0).bytes();
    for number in 0..10_000 {
        outbox.wake(vec![said(number)]);
    }
    assert_eq!(waiting().await, BYTES_MAX / size);
    let mut fresh = relay.fresh.lock().await;
    drop(Fresh { room: &relay.room, said: &mut fresh });
    assert!(fresh.is_empty(), "it is the sweep's");
}
