//! The running system: what a visitor does, and what each service does at the next tick.

use crate::{
    order::{Cancel, Fact, Order},
    payment::Payment,
    policy::Policy,
    provider,
    queues::{Consumer, Message},
    stores::Stores,
    verdict::{Verdict, settle},
    view,
};
use chrono::{DateTime, Utc};
use demo::DemoOrder;
use events::{
    CancelReason, Event, EventId, OrderCancelRequested, OrderCreated, OrderId, SERVICES, steps_of,
};
use reaction::{Cause, Decision, Said};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use uuid::Uuid;

/// The defaults of `PAYMENT_ATTEMPTS_MAX` and `PAYMENT_RETRY_DELAY`.
const POLICY: Policy = Policy { attempts_max: 5, retry_delay: Duration::from_secs(2) };

/// The orders that the page offers, as `saga demo` places them.
pub const SCENARIOS: [(&str, DemoOrder); 6] = [
    ("happy", DemoOrder::CONFIRMED),
    ("declined", DemoOrder::DECLINED),
    ("flaky", DemoOrder::FLAKY),
    ("sold out", DemoOrder::NONE_LEFT),
    ("carrier", DemoOrder::CARRIER),
    ("cancel", DemoOrder::CANCEL_CHARGED),
];

/// The oldest that have ended are forgotten beyond these.
const ORDERS_MAX: usize = 200;

/// What the page asks for. The time in milliseconds and a random number come with it.
#[derive(Deserialize)]
pub struct Request {
    now: i64,
    random: u64,
    #[serde(flatten)]
    act: Act,
}

#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
enum Act {
    Place {
        scenario: String,
    },
    Cancel {
        order: OrderId,
    },
    Stop {
        service: String,
    },
    Start {
        service: String,
    },
    /// The broker delivers once more what the service has handled last.
    Repeat {
        service: String,
    },
    Provider {
        is_up: bool,
    },
    Tick,
}

pub struct System {
    pub now: DateTime<Utc>,
    seed: u64,
    pub stores: Stores,
    pub consumers: Vec<Consumer>,
    /// By order: when the charge desk may take it up, or when the provider answers.
    due: BTreeMap<OrderId, DateTime<Utc>>,
    cancels: BTreeMap<OrderId, DateTime<Utc>>,
    pub placed: BTreeMap<OrderId, OrderCreated>,
    pub is_provider_up: bool,
    /// The last message that each service has handled.
    last: BTreeMap<&'static str, Arc<Message>>,
    /// Published since the last answer: event and order.
    pub published: Vec<(&'static str, OrderId)>,
    pub dead: Vec<String>,
}

impl Default for System {
    fn default() -> Self {
        Self {
            now: DateTime::UNIX_EPOCH,
            seed: 0,
            stores: Stores::default(),
            consumers: SERVICES.iter().map(|name| Consumer::new(name)).collect(),
            due: BTreeMap::new(),
            cancels: BTreeMap::new(),
            placed: BTreeMap::new(),
            is_provider_up: true,
            last: BTreeMap::new(),
            published: Vec::new(),
            dead: Vec::new(),
        }
    }
}

impl System {
    /// Does what the JSON asks for, and answers with all that there is to see.
    pub fn answer(&mut self, request: &str) -> Value {
        match serde_json::from_str(request) {
            Ok(Request { now, random, act }) => {
                let now = DateTime::from_timestamp_millis(now).unwrap_or(self.now);
                self.now = self.now.max(now);
                self.seed ^= random;
                self.act(act);
                let seen = view::of(self);
                self.published.clear();
                seen
            }
            Err(why) => json!({ "error": why.to_string() }),
        }
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Place { scenario } => self.place(&scenario),
            Act::Cancel { order } => self.cancel(order),
            Act::Stop { service } => self.switch(&service, false),
            Act::Start { service } => self.switch(&service, true),
            Act::Repeat { service } => {
                let again = self.last.get(&*service).cloned();
                let consumer = self.consumers.iter_mut().find(|known| known.name == service);
                if let Some((consumer, again)) = consumer.zip(again) {
                    consumer.waiting.push_back(again);
                }
            }
            Act::Provider { is_up } => self.is_provider_up = is_up,
            Act::Tick => self.tick(),
        }
    }

    fn place(&mut self, scenario: &str) {
        let Some((_, order)) = SCENARIOS.iter().find(|(name, _)| *name == scenario) else { return };
        let Ok(total_amount) = demo::PRICE.times(order.quantity) else { return };
        let order_id = self.new_id();
        let created = OrderCreated {
            order_id,
            customer_id: demo::CUSTOMER,
            payment_method: order.method,
            total_amount,
            items: order.items(),
        };
        self.say_for(order_id, &created, json!({ "total_amount": total_amount }));
        self.cancels.extend(order.cancel_after.map(|wait| (order_id, self.now + wait)));
        self.placed.insert(order_id, created);
        if self.placed.len() > ORDERS_MAX {
            self.forget_one();
        }
    }

    fn forget_one(&mut self) {
        let mut ended = self.stores.orders.iter().filter(|(_, it)| it.status().is_final());
        if let Some((id, _)) = ended.next().map(|(id, it)| (*id, it)) {
            self.stores.orders.remove(&id);
            self.placed.remove(&id);
        }
    }

    fn cancel(&mut self, order_id: OrderId) {
        let known = self.stores.orders.get(&order_id).map(Order::cancel);
        let Some((Cancel::Publish, created)) = known.zip(self.placed.get(&order_id)) else {
            return;
        };
        let reason = CancelReason::Customer;
        let OrderCreated { payment_method, total_amount, .. } = *created;
        let requested = OrderCancelRequested { order_id, reason, payment_method, total_amount };
        self.say_for(order_id, &requested, json!({ "reason": reason }));
    }

    /// Order publishes an event of its own, and records it.
    fn say_for<E: Event>(&mut self, order_id: OrderId, event: &E, detail: Value) {
        let event_id = self.publish(Said::new(event), None);
        let fact = Fact { event: E::NAME, event_id, at: self.now, caused_by: None, detail };
        self.stores.orders.entry(order_id).or_default().remember(fact);
    }

    fn publish(&mut self, said: Said, caused_by: Option<EventId>) -> EventId {
        let id = self.new_id();
        self.published.push((said.event, said.order_id));
        let message = Arc::new(Message { id, said, caused_by });
        for consumer in &mut self.consumers {
            if steps_of(consumer.name).any(|step| step.hears == message.said.event) {
                consumer.waiting.push_back(message.clone());
            }
        }
        id
    }

    /// A stopped payment forgets the calls that it was in; started again, it looks them up.
    fn switch(&mut self, service: &str, is_running: bool) {
        for consumer in self.consumers.iter_mut().filter(|known| known.name == service) {
            consumer.is_running = is_running;
        }
        if service != "payment" || !is_running {
            return;
        }
        for (id, payment) in &mut self.stores.payments {
            if let Some(charge) = payment.charge.take_if(|charge| charge.claim.is_some()) {
                *payment = charge.put_back().into();
                self.due.insert(*id, self.now);
            }
        }
    }

    fn tick(&mut self) {
        let asked = |(id, at): (&OrderId, &DateTime<Utc>)| (*at <= self.now).then_some(*id);
        for order in self.cancels.iter().filter_map(asked).collect::<Vec<_>>() {
            self.cancels.remove(&order);
            self.cancel(order);
        }
        // What is published now is handled at the next tick, so that one can watch.
        let next = |it: &mut Consumer| it.next().map(|message| (it.name, message));
        let next: Vec<_> = self.consumers.iter_mut().filter_map(next).collect();
        self.run_desk();
        for (service, message) in next {
            let order = message.order_id();
            match self.stores.handle(service, &message) {
                Ok(says) => {
                    for said in says {
                        self.publish(said, Some(message.id));
                    }
                }
                Err(why) => self.dead.push(format!("{} in {service}: {why}", message.said.event)),
            }
            self.last.insert(service, message);
            self.schedule(order);
        }
    }

    /// Notes when the desk may take up what a decision has made due.
    fn schedule(&mut self, order: OrderId) {
        let charge = self.stores.payments.get_mut(&order).and_then(|it| it.charge.as_mut());
        let Some(charge) = charge else { return };
        match charge.due_in.take() {
            Some(wait) => drop(self.due.insert(order, self.now + wait)),
            None if charge.claim.is_none() && !self.is_open(order) => drop(self.due.remove(&order)),
            None => {}
        }
    }

    fn is_open(&self, order: OrderId) -> bool {
        use crate::payment::Status;
        let charge = self.stores.payments.get(&order).and_then(|it| it.charge.as_ref());
        charge.is_some_and(|charge| Status::OPEN.contains(&charge.status))
    }

    /// The charge desk: calls the provider, and applies its answers by the shipped rule.
    fn run_desk(&mut self) {
        let is_running = self.consumers.iter().any(|it| it.name == "payment" && it.is_running);
        let due = self.due.iter().filter(|(_, at)| is_running && **at <= self.now);
        for order in due.map(|(id, _)| *id).collect::<Vec<_>>() {
            let claim = self.new_id();
            let Some(charge) = self.stores.payments.get(&order).and_then(|it| it.charge.clone())
            else {
                continue;
            };
            if charge.claim.is_none() {
                let taken = charge.take_up(claim);
                self.due.insert(order, self.now + provider::latency(&taken));
                self.stores.payments.insert(order, taken.into());
                continue;
            }
            let verdict = match self.is_provider_up {
                true => provider::answer(&charge),
                false => Verdict::Unsent { reason: "no connection".into() },
            };
            let Cause { event_id, .. } = charge.cause;
            let payment = Payment::from(charge.clone());
            if let Decision::Change { state, says } = settle(payment, &charge, verdict, POLICY) {
                self.stores.payments.insert(order, state);
                for said in says {
                    self.publish(said, Some(event_id));
                }
            }
            self.schedule(order);
        }
    }

    /// Whether anything goes on by itself.
    pub fn is_busy(&self) -> bool {
        let is_running = |name| self.consumers.iter().any(|it| it.name == name && it.is_running);
        let can_move = |it: &Consumer| it.is_running && !it.waiting.is_empty();
        !self.cancels.is_empty()
            || (is_running("payment") && !self.due.is_empty())
            || self.consumers.iter().any(can_move)
    }

    /// Of version 7, and the next of a sequence (splitmix64).
    fn new_id(&mut self) -> Uuid {
        let mut random = || {
            self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.seed;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        };
        let mut noise = [0; 10];
        noise[..8].copy_from_slice(&random().to_le_bytes());
        noise[8..].copy_from_slice(&random().to_le_bytes()[..2]);
        let millis = self.now.timestamp_millis().unsigned_abs();
        uuid::Builder::from_unix_timestamp_millis(millis, &noise).into_uuid()
    }
}
