//! An in-memory broker: queues, bindings, tiers and confirms under one lock.

use crate::{
    Binding, Broker, BrokerError, Confirm, Deliveries, Delivery, Depth, ExchangeKind, Message,
    Publication, Publisher, QueueInspector, QueueShape, Session, Topology, header,
};
use async_trait::async_trait;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    future::pending,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tokio::sync::Notify;

#[derive(Clone, Default)]
pub struct MemoryBroker {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    exchanges: HashMap<String, ExchangeKind>,
    bindings: BTreeSet<Binding>,
    /// In a fixed order, since all are woken together.
    queues: BTreeMap<String, Queue>,
    down: bool,
    /// Raised when all sessions break: those of an earlier age are dead.
    age: u64,
    /// Sessions of an earlier age are not told that they are dead.
    silent: u64,
    /// How many there have been.
    consumers: u64,
    deliveries: u64,
}

struct Queue {
    shape: QueueShape,
    ready: VecDeque<Delivery>,
    /// Delivered and not acknowledged, oldest first, with the consumer that has it.
    unsettled: Vec<(u64, Delivery)>,
    consumers: u32,
    /// It refuses what comes beyond so many messages that are ready.
    max_length: Option<usize>,
    changed: Arc<Notify>,
}

impl Queue {
    fn new(shape: QueueShape) -> Self {
        let (ready, unsettled, consumers, changed) = Default::default();
        Self { shape, ready, unsettled, consumers, max_length: None, changed }
    }

    fn is_full(&self) -> bool {
        self.max_length.is_some_and(|max| self.ready.len() >= max)
    }

    /// Redelivers the unacknowledged messages of these consumers.
    fn take_back(&mut self, whose: impl Fn(u64) -> bool) {
        let back = self.unsettled.extract_if(.., |(consumer, _)| whose(*consumer));
        for (_, delivery) in back.collect::<Vec<_>>().into_iter().rev() {
            let returns = delivery.returns + 1;
            self.ready.push_front(Delivery { returns, ..delivery });
        }
    }
}

impl MemoryBroker {
    /// Breaks every connection; unacknowledged messages are redelivered.
    pub fn cut(&self) {
        self.end_sessions(&mut self.lock());
    }

    /// Cuts the node of every session off from the others: the connections stay.
    pub fn cut_off(&self) {
        let mut state = self.lock();
        state.silent = state.age + 1;
        self.end_sessions(&mut state);
    }

    fn end_sessions(&self, state: &mut State) {
        state.age += 1;
        for queue in state.queues.values_mut() {
            queue.take_back(|_| true);
            queue.consumers = 0;
            queue.changed.notify_waiters();
        }
    }

    /// Stops the broker, or starts it again with all its messages.
    pub fn set_down(&self, down: bool) {
        self.lock().down = down;
        self.cut();
    }

    /// The messages in a queue, delivered or not.
    pub fn messages(&self, queue: &str) -> Vec<Message> {
        let state = self.lock();
        let found = state.queues.get(queue).into_iter();
        found
            .flat_map(|queue| queue.unsettled.iter().map(|(_, held)| held).chain(&queue.ready))
            .map(|delivery| delivery.message.clone())
            .collect()
    }

    /// The number of messages in a queue, delivered or not.
    pub fn depth(&self, queue: &str) -> usize {
        let state = self.lock();
        state.queues.get(queue).map_or(0, |queue| queue.unsettled.len() + queue.ready.len())
    }

    /// Takes all undelivered messages from a queue.
    pub fn drain(&self, queue: &str) -> Vec<Message> {
        let mut state = self.lock();
        let found = state.queues.get_mut(queue).into_iter();
        found.flat_map(|queue| queue.ready.drain(..)).map(|delivery| delivery.message).collect()
    }

    /// Puts a message into a queue, past any exchange.
    pub fn inject(&self, queue: &str, message: Message) {
        self.push(&mut self.lock(), queue, message);
    }

    /// Limits the number of messages that are ready in a queue: it refuses more.
    pub fn limit(&self, queue: &str, max_length: Option<usize>) {
        if let Some(queue) = self.lock().queues.get_mut(queue) {
            queue.max_length = max_length;
        }
    }

    /// Removes one binding: events that it would have routed are returned as unroutable.
    pub fn unbind(&self, queue: &str) -> Vec<Binding> {
        self.lock().bindings.extract_if(.., |binding| binding.queue == queue).collect()
    }

    pub fn bind(&self, bindings: Vec<Binding>) {
        self.lock().bindings.extend(bindings);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn publish_one(&self, state: &mut State, publication: &Publication) -> Confirm {
        let Publication { exchange, routing_key, message } = publication;
        let kind = state.exchanges.get(exchange).copied();
        let key = match kind {
            Some(ExchangeKind::Headers) => message.text(header::DELAY).unwrap_or_default(),
            Some(ExchangeKind::Topic | ExchangeKind::Direct) => routing_key.clone(),
            Some(ExchangeKind::Fanout) => String::new(),
            None => return Confirm::Unroutable,
        };
        let routed: Vec<String> = state
            .bindings
            .iter()
            .filter(|binding| binding.exchange == *exchange && binding.key == key)
            .map(|binding| binding.queue.clone())
            .collect();
        let mut confirm = if routed.is_empty() { Confirm::Unroutable } else { Confirm::Stored };
        for queue in &routed {
            if state.queues.get(queue).is_some_and(Queue::is_full) {
                confirm = Confirm::Refused;
                continue;
            }
            self.push(state, queue, message.clone());
            self.return_after_delay(state, queue, routing_key);
        }
        confirm
    }

    fn push(&self, state: &mut State, queue: &str, message: Message) {
        if let Some(queue) = state.queues.get_mut(queue) {
            queue.ready.push_back(Delivery { message, returns: 0, tag: 0 });
            queue.changed.notify_waiters();
        }
    }

    /// A message on a tier returns after its delay, by its original key.
    fn return_after_delay(&self, state: &State, queue: &str, routing_key: &str) {
        let Some(Queue { shape: QueueShape::Tier { wait_ms, back_exchange }, .. }) =
            state.queues.get(queue)
        else {
            return;
        };
        let (broker, queue) = (self.clone(), queue.to_owned());
        let (wait, exchange) = (Duration::from_millis(*wait_ms), back_exchange.clone());
        let routing_key = routing_key.to_owned();
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            let mut state = broker.lock();
            let tier = state.queues.get_mut(&queue);
            if let Some(Delivery { message, .. }) = tier.and_then(|tier| tier.ready.pop_front()) {
                broker.publish_one(&mut state, &Publication { exchange, routing_key, message });
            }
        });
    }
}

#[async_trait]
impl Broker for MemoryBroker {
    async fn connect(&self, topology: &Topology) -> Result<Box<dyn Session>, BrokerError> {
        let mut state = self.lock();
        if state.down {
            return Err(BrokerError::away("it is down"));
        }
        for exchange in &topology.exchanges {
            state.exchanges.insert(exchange.name.clone(), exchange.kind);
        }
        for (name, shape) in &topology.queues {
            if !state.queues.contains_key(name) {
                state.queues.insert(name.clone(), Queue::new(shape.clone()));
            }
        }
        for binding in &topology.bindings {
            if !state.bindings.contains(binding) {
                state.bindings.insert(binding.clone());
            }
        }
        Ok(Box::new(MemorySession { broker: self.clone(), age: state.age }))
    }

    async fn look(&self, _name: &str) -> Result<Box<dyn QueueInspector>, BrokerError> {
        Ok(Box::new(self.clone()))
    }
}

#[async_trait]
impl QueueInspector for MemoryBroker {
    async fn depths(&mut self, queues: &[String]) -> Result<Vec<Option<Depth>>, BrokerError> {
        let state = self.lock();
        if state.down {
            return Err(BrokerError::away("it is down"));
        }
        let depth = |queue: &Queue| Depth {
            ready: u32::try_from(queue.ready.len()).unwrap_or(u32::MAX),
            consumers: queue.consumers,
        };
        Ok(queues.iter().map(|queue| state.queues.get(queue).map(depth)).collect())
    }
}

/// A session, and everything that is made from it.
#[derive(Clone)]
struct MemorySession {
    broker: MemoryBroker,
    age: u64,
}

impl MemorySession {
    fn is_silent(&self) -> bool {
        self.age < self.broker.lock().silent
    }

    fn state(&self) -> Result<MutexGuard<'_, State>, BrokerError> {
        let state = self.broker.lock();
        if state.down || state.age != self.age {
            return Err(BrokerError::away("the session is broken"));
        }
        Ok(state)
    }
}

#[async_trait]
impl Session for MemorySession {
    async fn consume(&self, queue: &str) -> Result<Box<dyn Deliveries>, BrokerError> {
        let mut state = self.state()?;
        state.consumers += 1;
        let consumer = state.consumers;
        if let Some(queue) = state.queues.get_mut(queue) {
            queue.consumers += 1;
        }
        Ok(Box::new(MemoryDeliveries { session: self.clone(), queue: queue.into(), consumer }))
    }

    async fn publisher(&self) -> Result<Box<dyn Publisher>, BrokerError> {
        Ok(Box::new(self.clone()))
    }

    fn has_others(&self) -> bool {
        true
    }

    async fn close(&self) {}
}

#[async_trait]
impl Publisher for MemorySession {
    async fn publish(&self, burst: &[Publication]) -> Result<Vec<Confirm>, BrokerError> {
        // As with a real broker, other tasks run while the confirms are awaited.
        tokio::task::yield_now().await;
        let mut state = self.state()?;
        Ok(burst.iter().map(|one| self.broker.publish_one(&mut state, one)).collect())
    }
}

struct MemoryDeliveries {
    session: MemorySession,
    queue: String,
    consumer: u64,
}

#[async_trait]
impl Deliveries for MemoryDeliveries {
    async fn next(&mut self, max: usize) -> Option<Vec<Delivery>> {
        loop {
            if self.session.is_silent() {
                pending::<()>().await;
            }
            let changed = self.session.state().ok()?.queues.get(&self.queue)?.changed.clone();
            let waiting = changed.notified();
            tokio::pin!(waiting);
            waiting.as_mut().enable();
            if let Some(batch) = self.take(max)? {
                return Some(batch);
            }
            waiting.await;
        }
    }

    fn ready(&mut self, max: usize) -> Vec<Delivery> {
        self.take(max).flatten().unwrap_or_default()
    }

    async fn is_empty(&mut self) -> Result<bool, BrokerError> {
        let state = self.session.state()?;
        Ok(state.queues.get(&self.queue).is_none_or(|queue| queue.ready.is_empty()))
    }

    async fn ack(&mut self, except: &BTreeSet<u64>) -> Result<(), BrokerError> {
        let mut state = self.session.state()?;
        if let Some(queue) = state.queues.get_mut(&self.queue) {
            let stays = |(consumer, delivery): &(u64, Delivery)| {
                *consumer != self.consumer || except.contains(&delivery.tag)
            };
            queue.unsettled.retain(stays);
        }
        Ok(())
    }
}

/// However a consumer ends, its unacknowledged messages return to the queue.
impl Drop for MemoryDeliveries {
    fn drop(&mut self) {
        let Ok(mut state) = self.session.state() else {
            return;
        };
        if let Some(queue) = state.queues.get_mut(&self.queue) {
            queue.take_back(|consumer| consumer == self.consumer);
            queue.consumers = queue.consumers.saturating_sub(1);
            queue.changed.notify_waiters();
        }
    }
}

impl MemoryDeliveries {
    /// The outer `None` is the end of the session, the inner one an empty queue.
    fn take(&mut self, max: usize) -> Option<Option<Vec<Delivery>>> {
        let mut state = self.session.state().ok()?;
        let State { queues, deliveries, .. } = &mut *state;
        let queue = queues.get_mut(&self.queue)?;
        let count = queue.ready.len().min(max);
        if count == 0 {
            return Some(None);
        }
        let tagged = queue.ready.drain(..count).map(|delivery| {
            *deliveries += 1;
            Delivery { tag: *deliveries, ..delivery }
        });
        let batch: Vec<_> = tagged.collect();
        queue.unsettled.extend(batch.iter().map(|delivery| (self.consumer, delivery.clone())));
        Some(Some(batch))
    }
}
