//! A test service, a till that counts coins, on in-memory servers.

use chrono::TimeDelta;
use events::{Event, OrderId};
use messaging::{
    Batch, Binding, Consumer, ConsumerState, Env, Failure, HeldUp, MemoryBroker,
    MemoryMessageStore, MemoryTx, Message, MessageStore, Outbox, Outgoing, Progress, Queue,
    QueueShape, Relay, Reply, Retention, RetrySchedule, SessionSupervisor, Store, SystemEnv,
    Topology, dead_letters, reply,
};
use reaction::{Decision, Heard, On, Said};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Coins were put into a till.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Paid {
    pub order_id: OrderId,
    pub coins: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Counted {
    pub order_id: OrderId,
    pub total: u32,
}

impl Event for Paid {
    const NAME: &'static str = "customer.paid";
    fn order_id(&self) -> OrderId {
        self.order_id
    }
}

impl Event for Counted {
    const NAME: &'static str = "till.counted";
    fn order_id(&self) -> OrderId {
        self.order_id
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Till(pub u32);

pub const PANICS: u32 = 13;
pub const IMPOSSIBLE: u32 = 14;
/// The store cannot save this total.
pub const UNSAVEABLE: u32 = 15;
/// Takes a second to save.
pub const SLOW: u32 = 77;
/// The database refuses it, as long as it is locked.
pub const LOCKED: u32 = 16;

impl On<Paid> for Till {
    fn on(self, event: &Heard<Paid>) -> Decision<Self> {
        assert_ne!(event.coins, PANICS, "thirteen coins");
        if event.coins == IMPOSSIBLE {
            return Decision::impossible("fourteen coins");
        }
        let total = self.0 + event.coins;
        Decision::to(Self(total)).and_say(&Counted { order_id: event.order_id, total })
    }
}

pub type Tills = BTreeMap<OrderId, Till>;

#[derive(Default)]
pub struct TillStore {
    is_locked: Arc<AtomicBool>,
}

impl Store for TillStore {
    type Tx = MemoryTx<Tills>;
    type State = Till;
    type Batch = Batch<Till>;

    fn load(
        &self,
        tx: &mut Self::Tx,
        orders: &[OrderId],
        _touched: &[Uuid],
    ) -> Reply<'static, Batch<Till>> {
        let tills = tx.data();
        reply(Ok(Batch::new(orders.iter().filter_map(|id| Some((*id, tills.get(id)?.clone()))))))
    }

    async fn save(&self, tx: &mut Self::Tx, batch: &Batch<Till>) -> Result<(), Failure> {
        for (order, till) in batch.changed() {
            if till.0 == UNSAVEABLE {
                return Err(Failure::permanent("fifteen coins"));
            }
            if till.0 == LOCKED && self.is_locked.load(Ordering::SeqCst) {
                tokio::time::sleep(Duration::from_millis(2500)).await;
                return Err(Failure::Refused(anyhow::anyhow!("a lock timeout")));
            }
            if till.0 == SLOW {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            tx.data().insert(order, till.clone());
        }
        Ok(())
    }
}

pub struct Shop {
    pub broker: MemoryBroker,
    pub message_store: MemoryMessageStore<Tills>,
    pub stop: CancellationToken,
    pub consumers_stopped: CancellationToken,
    pub said: CancellationToken,
    pub outbox: Outbox,
    pub is_locked: Arc<AtomicBool>,
    pub standing: watch::Receiver<ConsumerState>,
    pub held_up: HeldUp,
    pub supervisor: JoinHandle<Result<(), messaging::BrokerError>>,
}

pub const QUEUE: &str = "till.customer-paid";
pub const DEAD: &str = "till.customer-paid.dlq";
/// The same event in a second queue, as a service has several.
pub const BACK_DOOR: &str = "till.back-door";

impl Shop {
    pub async fn open() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut Queue<Till>)) -> Self {
        let (broker, message_store, env) =
            (MemoryBroker::default(), MemoryMessageStore::default(), SystemEnv::shared());
        let mut queue = Queue::of::<Paid>("till");
        change(&mut queue);
        let mut back_door = queue.clone();
        back_door.name = BACK_DOOR.into();
        // Its messages are urgent.
        back_door.can_wait = false;
        let (outbox, relay) = Relay::new(message_store.clone(), env.clone(), 100, 1 << 20);
        let progress = Progress::new();
        let store = TillStore::default();
        let is_locked = store.is_locked.clone();
        let consumer = Consumer {
            service: "till",
            queues: vec![queue, back_door],
            store: Arc::new(store),
            message_store: message_store.clone(),
            outbox: outbox.clone(),
            schedule: RetrySchedule::default(),
            retention: Retention::default(),
            env: env.clone(),
            batch_max: 100,
            progress: progress.clone(),
        };
        let mut topology = Topology::of("till", &[Paid::NAME], &RetrySchedule::default());
        let (_, shape) = topology.queues.iter().find(|(name, _)| name == QUEUE).unwrap();
        topology.queues.push((BACK_DOOR.into(), shape.clone()));
        let queue = dead_letters(BACK_DOOR);
        topology.queues.push((queue.clone(), QueueShape::Parked));
        let (exchange, key) = ("till.dlx".into(), queue.clone());
        topology.bindings.push(Binding { exchange, queue, key });
        // A consumer of the till's events.
        let listener = Topology::of("book", &[Counted::NAME], &RetrySchedule::default());
        topology.exchanges.extend(listener.exchanges);
        topology.queues.extend(listener.queues);
        topology.bindings.extend(listener.bindings);
        let supervisor = SessionSupervisor {
            broker: Arc::new(broker.clone()),
            topology,
            consumer: Arc::new(consumer),
            relay: Arc::new(relay),
            env,
            progress,
        };
        let stop = CancellationToken::new();
        let mut standing = supervisor.progress.subscribe();
        let held_up = supervisor.progress.held_up.clone();
        let (consumers_stopped, said) = (CancellationToken::new(), CancellationToken::new());
        let tokens = (stop.clone(), consumers_stopped.clone(), said.clone());
        let supervisor = tokio::spawn(async move {
            let (stop, consumers_stopped, said) = tokens;
            supervisor.run(&stop, &consumers_stopped, &said).await
        });
        standing.wait_for(|now| *now == ConsumerState::CaughtUp).await.unwrap();
        Self {
            broker,
            message_store,
            stop,
            consumers_stopped,
            said,
            outbox,
            is_locked,
            standing,
            held_up,
            supervisor,
        }
    }

    pub fn pay(&self, order: u128, coins: u32) -> Message {
        let message = paid(order, coins);
        self.broker.inject(QUEUE, message.clone());
        message
    }

    pub async fn total(&self, order: u128) -> u32 {
        self.message_store.data().await.get(&Uuid::from_u128(order)).map_or(0, |till| till.0)
    }

    pub fn counted(&self) -> usize {
        self.broker.messages("book.till-counted").len()
    }

    pub async fn quiet(&self) {
        until(|| async {
            self.broker.messages(QUEUE).is_empty() && self.message_store.unsent().await.is_empty()
        })
        .await;
    }

    /// Publishes as a worker does, besides the reactions.
    pub async fn say(&self, order: u128) {
        let said = Said::new(&Counted { order_id: Uuid::from_u128(order), total: 1 });
        let said = vec![Outgoing::new(&SystemEnv, said, None)];
        let mut tx = self.message_store.begin().await.unwrap();
        self.message_store.enqueue(&mut tx, &said).await.unwrap();
        self.message_store.commit(tx).await.unwrap();
        self.outbox.wake(said);
    }

    pub async fn close(self) {
        self.stop.cancel();
        self.said.cancel();
        self.supervisor.await.unwrap().unwrap();
    }
}

pub fn paid(order: u128, coins: u32) -> Message {
    let said = Said::new(&Paid { order_id: Uuid::from_u128(order), coins });
    Outgoing::new(&SystemEnv, said, None).publication().message
}

/// The same under the id of another day.
pub fn said_days_ago(message: Message, days: i64) -> Message {
    let said_at = SystemEnv.now() - TimeDelta::days(days);
    let millis = said_at.timestamp_millis().unsigned_abs();
    let id = uuid::Builder::from_unix_timestamp_millis(millis, &[7; 10]).into_uuid();
    Message { id: Some(id.to_string()), ..message }
}

/// Virtual time makes this as fast as the code under test.
pub async fn until<F: Future<Output = bool>>(mut happened: impl FnMut() -> F) {
    let bound = tokio::time::timeout(Duration::from_secs(600), async {
        while !happened().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    bound.await.expect("it happens within ten minutes of virtual time");
}
