//! The four services as shipped, their reactions behind the same queues. Each decision is computed
//! once and cached.

use crate::{
    NOW, Switches, breaks,
    pool::{Id, Memo, Pool},
    provider::{self, Move, Moved, Provider, event_id},
    state::{About, Letter, State, order_id},
    stock::Stock,
};
use chrono::{DateTime, Utc};
use events::{
    CancelReason, Item, Money, OrderCancelRequested, OrderCreated, PaymentMethod, ProductId,
};
use inventory::Shelf;
use messaging::{Env, Message, Outgoing, Queue};
use order::{Cancel, Order, Orders};
use payment::{ChargeDispatch, Payment, Payments};
use reaction::{Cause, Decision, Said};
use serde_json::json;
use shipping::{Dispatch, Shipments};
use std::{fmt::Debug, sync::Arc};
use uuid::Uuid;

/// The result of a service's decision.
#[derive(Debug)]
pub enum Reaction<S> {
    Nothing,
    Change { state: Id<S>, says: Vec<Published> },
    Impossible,
}

/// A message, and its event.
pub type Published = (Id<Outgoing>, &'static str);

type Moves = Vec<(Move, (Id<Payment>, Id<Provider>, Vec<Published>))>;

type Cancels = Vec<(CancelReason, Id<Order>, Published)>;

pub struct Cast {
    switches: Switches,
    pub orders: Pool<Order>,
    pub payments: Pool<Payment>,
    pub stocks: Pool<Stock>,
    pub dispatches: Pool<Dispatch>,
    pub providers: Pool<Provider>,
    pub messages: Pool<Outgoing>,
    order: Hearer<Order>,
    payment: Hearer<Payment>,
    inventory: Hearer<Stock>,
    shipping: Hearer<Dispatch>,
    desk: Memo<(Id<Payment>, Id<Provider>), Moves>,
    cancels: Memo<(Id<Order>, usize), Cancels>,
    shelves: Vec<Queue<Shelf>>,
}

struct Hearer<S> {
    queues: Vec<Queue<S>>,
    heard: Memo<(Id<S>, Letter), Reaction<S>>,
}

impl<S> Hearer<S> {
    fn of(queues: Vec<Queue<S>>) -> Self {
        Self { queues, heard: Memo::default() }
    }
}

/// An environment in which the time never changes, and the next id is known.
struct Still(Uuid);

impl Env for Still {
    fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(NOW.cast_signed()).expect("it is a time")
    }

    fn random(&self) -> u64 {
        0
    }

    fn new_id(&self) -> Uuid {
        self.0
    }
}

impl Cast {
    pub fn new(switches: Switches) -> Self {
        Self {
            switches,
            orders: Pool::default(),
            payments: Pool::default(),
            stocks: Pool::default(),
            dispatches: Pool::default(),
            providers: Pool::default(),
            messages: Pool::default(),
            order: Hearer::of(order::reactions(Orders::default()).queues),
            payment: Hearer::of(
                payment::reactions(Payments::new(ChargeDispatch::unmanned())).queues,
            ),
            inventory: Hearer::of(Vec::new()),
            shelves: inventory::reactions(inventory::Stock).queues,
            shipping: Hearer::of(shipping::reactions(Shipments).queues),
            desk: Memo::default(),
            cancels: Memo::default(),
        }
    }

    /// The first state: orders for one piece of `product` each, just placed, and `total` pieces of
    /// it in stock.
    pub fn placed(&self, product: ProductId, total: u64, may_park: bool) -> State {
        let ids = (0..self.switches.orders).map(order_id);
        let stock = Stock::of(ids.clone(), product, total);
        let orders = ids.map(|order_id| {
            let items = vec![Item { product_id: product, quantity: 1, unit_price: PRICE }];
            let created = OrderCreated {
                order_id,
                customer_id: Uuid::from_u128(1),
                payment_method: PaymentMethod::Pix,
                total_amount: PRICE,
                items,
            };
            let (order, (said, event)) = self.say(Order::default(), &created);
            let mut about = About {
                order,
                payment: self.payments.put(Payment::default()),
                shipping: self.dispatches.put(Dispatch::default()),
                provider: self.providers.put(Provider::default()),
                mail: Vec::new(),
            };
            about.say(said, event);
            about
        });
        State { orders: orders.collect(), stock: self.stocks.put(stock), may_park }
    }

    /// An order publishes an event of its own accord, and records it.
    fn say<E: events::Event>(&self, mut order: Order, event: &E) -> (Id<Order>, Published) {
        let id = event_id(event.order_id(), E::NAME, 0);
        let (fact, said) = order::root_event(&Still(id), event, json!({}), None);
        order.remember(fact);
        (self.orders.put(order), (self.messages.put(said), E::NAME))
    }

    /// The event as it is decoded from the wire.
    pub fn message(&self, letter: Letter) -> Message {
        self.outgoing(letter).publication().message
    }

    pub fn outgoing(&self, letter: Letter) -> Outgoing {
        let first = (*self.messages.get(letter.said)).clone();
        let id = event_id(first.order_id, &first.event, letter.repetition);
        Outgoing { id, ..first }
    }

    fn published(&self, says: Vec<Said>, cause: &Cause) -> Vec<Published> {
        let published = |said: Said| {
            let event = said.event;
            let id = event_id(said.order_id, event, 0);
            (self.messages.put(Outgoing::new(&Still(id), said, Some(cause))), event)
        };
        says.into_iter().map(published).collect()
    }

    /// Every reaction is run by this function.
    fn reaction<S: 'static, T: Debug>(
        &self,
        queues: &[Queue<S>],
        (letter, pool): (Letter, &Pool<T>),
        decide: impl FnOnce(&[ProductId], &Message, &dyn Fn(S) -> Decision<S>) -> Decision<T>,
    ) -> Reaction<T> {
        let message = self.message(letter);
        let kind = message.kind.as_deref().unwrap_or_default();
        let queue = queues.iter().find(|queue| queue.event == kind).expect("SAGA says it hears it");
        let received = queue.decode(&message, None).expect("it was said by a service of ours");
        match decide(&received.touches, &message, &|state| (received.decide)(state)) {
            Decision::Nothing => Reaction::Nothing,
            Decision::Impossible(_) => Reaction::Impossible,
            Decision::Change { state, says } => Reaction::Change {
                state: pool.put(state),
                says: self.published(says, &received.cause),
            },
        }
    }

    pub fn order_hears(&self, order: Id<Order>, letter: Letter) -> Arc<Reaction<Order>> {
        let Hearer { queues, heard } = &self.order;
        heard.get((order, letter), |_| {
            self.reaction(queues, (letter, &self.orders), |_, message, shipped| {
                let state = (*self.orders.get(order)).clone();
                breaks::order(self.switches.broken, state, message, shipped)
            })
        })
    }

    pub fn payment_hears(&self, payment: Id<Payment>, letter: Letter) -> Arc<Reaction<Payment>> {
        let Hearer { queues, heard } = &self.payment;
        heard.get((payment, letter), |_| {
            self.reaction(queues, (letter, &self.payments), |_, message, shipped| {
                let state = (*self.payments.get(payment)).clone();
                match breaks::payment(self.switches.broken, state, message, shipped) {
                    Decision::Change { state, says } => {
                        Decision::Change { state: provider::essence(state), says }
                    }
                    other => other,
                }
            })
        })
    }

    pub fn shipping_hears(&self, state: Id<Dispatch>, letter: Letter) -> Arc<Reaction<Dispatch>> {
        let Hearer { queues, heard } = &self.shipping;
        heard.get((state, letter), |_| {
            self.reaction(queues, (letter, &self.dispatches), |_, message, shipped| {
                let state = (*self.dispatches.get(state)).clone();
                breaks::shipping(self.switches.broken, state, message, shipped)
            })
        })
    }

    pub fn inventory_hears(&self, stock: Id<Stock>, letter: Letter) -> Arc<Reaction<Stock>> {
        self.inventory.heard.get((stock, letter), |_| {
            let pool = (letter, &self.stocks);
            self.reaction(&self.shelves, pool, |touched, message, shipped| {
                let order = self.messages.get(letter.said).order_id;
                self.stocks.get(stock).decide(order, touched, |shelf| {
                    breaks::inventory(self.switches.broken, shelf, message, shipped)
                })
            })
        })
    }

    /// The actions of customer and deadline on an order that the shipped rule allows now.
    pub fn cancels(&self, order: Id<Order>, number: usize) -> Arc<Cancels> {
        self.cancels.get((order, number), |_| {
            let known = self.orders.get(order);
            if known.cancel() != Cancel::Publish {
                return Vec::new();
            }
            let say = |reason| {
                let (payment_method, total_amount) = (PaymentMethod::Pix, PRICE);
                let order_id = order_id(number);
                let requested =
                    OrderCancelRequested { order_id, reason, payment_method, total_amount };
                let (order, published) = self.say((*known).clone(), &requested);
                (reason, order, published)
            };
            [CancelReason::Customer, CancelReason::Deadline].map(say).into()
        })
    }

    /// The possible actions of charge desk and provider now.
    pub fn moves(&self, payment: Id<Payment>, provider: Id<Provider>) -> Arc<Moves> {
        self.desk.get((payment, provider), |_| {
            let (payment, provider) = (self.payments.get(payment), self.providers.get(provider));
            let moves = provider::moves(&payment, &provider, self.switches);
            let stored = |(made, Moved { payment, provider, says, cause })| {
                let says = self.published(says, &cause);
                (made, (self.payments.put(payment), self.providers.put(provider), says))
            };
            moves.into_iter().map(stored).collect()
        })
    }
}

pub const PRICE: Money = Money::cents(9980);
