//! A broker without a server: queues, bindings, rungs and confirms in one lock.

use crate::{
    Binding, Broker, BrokerError, Confirm, Deliveries, Delivery, ExchangeKind, Message,
    Publication, Publisher, QueueShape, Session, Topology, header,
};
use async_trait::async_trait;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
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
    /// How many there have been.
    consumers: u64,
}

struct Queue {
    shape: QueueShape,
    ready: VecDeque<Delivery>,
    /// Delivered and not settled, oldest first, with the consumer who has it.
    unsettled: Vec<(u64, Delivery)>,
    changed: Arc<Notify>,
}

impl Queue {
    fn new(shape: QueueShape) -> Self {
        let (ready, unsettled, changed) = Default::default();
        Self { shape, ready, unsettled, changed }
    }

    /// What these consumers have and have not settled is to be delivered again.
    fn take_back(&mut self, whose: impl Fn(u64) -> bool) {
        let back = self.unsettled.extract_if(.., |(consumer, _)| whose(*consumer));
        for (_, delivery) in back.collect::<Vec<_>>().into_iter().rev() {
            let returns = delivery.returns + 1;
            self.ready.push_front(Delivery { returns, ..delivery });
        }
    }
}

impl MemoryBroker {
    /// Every connection breaks; what was delivered and not settled is delivered again.
    pub fn cut(&self) {
        let mut state = self.lock();
        state.age += 1;
        for queue in state.queues.values_mut() {
            queue.take_back(|_| true);
            queue.changed.notify_waiters();
        }
    }

    /// Gone, or back again with all that it had.
    pub fn set_down(&self, down: bool) {
        self.lock().down = down;
        self.cut();
    }

    /// What waits in a queue, delivered or not.
    pub fn messages(&self, queue: &str) -> Vec<Message> {
        let state = self.lock();
        let found = state.queues.get(queue).into_iter();
        found
            .flat_map(|queue| queue.unsettled.iter().map(|(_, held)| held).chain(&queue.ready))
            .map(|delivery| delivery.message.clone())
            .collect()
    }

    /// How much waits in a queue, delivered or not.
    pub fn depth(&self, queue: &str) -> usize {
        let state = self.lock();
        state.queues.get(queue).map_or(0, |queue| queue.unsettled.len() + queue.ready.len())
    }

    /// Takes out what waits in a queue and is in nobody's hands.
    pub fn drain(&self, queue: &str) -> Vec<Message> {
        let mut state = self.lock();
        let found = state.queues.get_mut(queue).into_iter();
        found.flat_map(|queue| queue.ready.drain(..)).map(|delivery| delivery.message).collect()
    }

    /// Puts a message into a queue, past any exchange.
    pub fn inject(&self, queue: &str, message: Message) {
        self.push(&mut self.lock(), queue, message);
    }

    /// Undoes one binding: what it would have routed comes back as unroutable.
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
        for queue in &routed {
            self.push(state, queue, message.clone());
            self.wait_on_rung(state, queue, routing_key);
        }
        if routed.is_empty() { Confirm::Unroutable } else { Confirm::Stored }
    }

    fn push(&self, state: &mut State, queue: &str, message: Message) {
        if let Some(queue) = state.queues.get_mut(queue) {
            queue.ready.push_back(Delivery { message, returns: 0 });
            queue.changed.notify_waiters();
        }
    }

    /// A message on a rung goes back when its time has come, by the key it came with.
    fn wait_on_rung(&self, state: &State, queue: &str, routing_key: &str) {
        let Some(Queue { shape: QueueShape::Rung { wait_ms, back_exchange }, .. }) =
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
            let rung = state.queues.get_mut(&queue);
            if let Some(Delivery { message, .. }) = rung.and_then(|rung| rung.ready.pop_front()) {
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
        Ok(Box::new(Line { broker: self.clone(), age: state.age }))
    }
}

/// A session, and everything that is made from it.
#[derive(Clone)]
struct Line {
    broker: MemoryBroker,
    age: u64,
}

impl Line {
    fn state(&self) -> Result<MutexGuard<'_, State>, BrokerError> {
        let state = self.broker.lock();
        if state.down || state.age != self.age {
            return Err(BrokerError::away("the session is broken"));
        }
        Ok(state)
    }
}

#[async_trait]
impl Session for Line {
    async fn consume(&self, queue: &str) -> Result<Box<dyn Deliveries>, BrokerError> {
        let mut state = self.state()?;
        state.consumers += 1;
        let consumer = state.consumers;
        Ok(Box::new(MemoryDeliveries { line: self.clone(), queue: queue.into(), consumer }))
    }

    async fn publisher(&self) -> Result<Box<dyn Publisher>, BrokerError> {
        Ok(Box::new(self.clone()))
    }

    async fn close(&self) {}
}

#[async_trait]
impl Publisher for Line {
    async fn publish(&mut self, burst: &[Publication]) -> Result<Vec<Confirm>, BrokerError> {
        // As with a real one, other things happen while the confirms are awaited.
        tokio::task::yield_now().await;
        let mut state = self.state()?;
        Ok(burst.iter().map(|one| self.broker.publish_one(&mut state, one)).collect())
    }
}

struct MemoryDeliveries {
    line: Line,
    queue: String,
    consumer: u64,
}

#[async_trait]
impl Deliveries for MemoryDeliveries {
    async fn next(&mut self, max: usize) -> Option<Vec<Delivery>> {
        let changed = self.line.state().ok()?.queues.get(&self.queue)?.changed.clone();
        loop {
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

    async fn waiting(&mut self) -> Result<u32, BrokerError> {
        let state = self.line.state()?;
        let ready = state.queues.get(&self.queue).map_or(0, |queue| queue.ready.len());
        Ok(u32::try_from(ready).unwrap_or(u32::MAX))
    }

    async fn settle(&mut self) -> Result<(), BrokerError> {
        let mut state = self.line.state()?;
        if let Some(queue) = state.queues.get_mut(&self.queue) {
            queue.unsettled.retain(|(consumer, _)| *consumer != self.consumer);
        }
        Ok(())
    }
}

/// Whoever goes, in whichever way, leaves what he has not settled to the next.
impl Drop for MemoryDeliveries {
    fn drop(&mut self) {
        let Ok(mut state) = self.line.state() else {
            return;
        };
        if let Some(queue) = state.queues.get_mut(&self.queue) {
            queue.take_back(|consumer| consumer == self.consumer);
            queue.changed.notify_waiters();
        }
    }
}

impl MemoryDeliveries {
    /// The outer `None` is the end of the session, the inner one an empty queue.
    fn take(&mut self, max: usize) -> Option<Option<Vec<Delivery>>> {
        let mut state = self.line.state().ok()?;
        let queue = state.queues.get_mut(&self.queue)?;
        let count = queue.ready.len().min(max);
        if count == 0 {
            return Some(None);
        }
        let batch: Vec<_> = queue.ready.drain(..count).collect();
        queue.unsettled.extend(batch.iter().map(|delivery| (self.consumer, delivery.clone())));
        Some(Some(batch))
    }
}
