//! Runs the service on a database of its own, without a broker.

use crate::{
    App, Draft, More, Order, Orders, Placing, Request, Settings, Writer, replicas, routes,
};
use crate::{
    keys::{ApiKey, Role},
    store,
};
use axum::{
    Router,
    extract::Request as HttpRequest,
    http::{HeaderValue, header},
    middleware,
};
use chrono::{DateTime, TimeDelta, Utc};
use clap::Parser;
use events::{
    Event, EventId, InventoryFailed, InventoryReserved, Item, Money, OrderId, PaymentApproved,
    PaymentMethod, PaymentReversed, ProductId, ShippingScheduled,
};
use messaging::{
    CrashPoint, Env, Failure, MessageStore, Reply, States, Store, SystemEnv, Wanted, Work, reply,
};
use reaction::{Decision, Heard, On, scenario::heard};
use service::Context;
use std::sync::{Arc, Mutex};
use uuid::Uuid;

pub use service::testing::context as context_on;

pub struct Bench {
    pub context: Context,
    pub orders: Orders,
    pub placing: Placing,
    pub settings: Settings,
}

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    settings: Settings,
}

pub fn settings() -> Settings {
    Cli::parse_from(["order-service"]).settings
}

/// A migrated database and what a service needs to work on it.
pub async fn context() -> Context {
    let pool = database::testing::throwaway().await;
    crate::service(&settings()).unwrap().migrate(&pool).await.unwrap();
    context_on(pool)
}

impl Bench {
    /// With a writer at work, until the test ends.
    pub async fn new() -> Self {
        Self::on(context().await)
    }

    pub fn on(context: Context) -> Self {
        let (bench, writer) = Self::without_writer(context, 64);
        tokio::spawn(writer.run(bench.context.clone()));
        bench
    }

    pub fn without_writer(context: Context, capacity: usize) -> (Self, Writer) {
        let (placing, writer) = Placing::channel(capacity);
        (Self { context, orders: Orders::default(), placing, settings: settings() }, writer)
    }

    pub fn router(&self) -> Router {
        self.router_with(|_| More::default())
    }

    pub fn router_with(&self, more: impl FnOnce(&App) -> More) -> Router {
        self.bare_router(more).layer(middleware::map_request(with_host))
    }

    /// For requests with a host of their own.
    pub fn bare_router(&self, more: impl FnOnce(&App) -> More) -> Router {
        let (orders, placing) = (self.orders.clone(), self.placing.clone());
        tokio::spawn(replicas::run(self.context.clone(), orders.feeds.clone()));
        let keys = self.settings.keys().unwrap();
        tokio::spawn(keys.clone().run(self.context.clone()));
        let app = App::new(&self.settings, self.context.clone(), orders, placing, keys);
        let more = more(&app);
        routes(app, more)
    }

    /// No connection is given out from now on; connections in use may be kept.
    pub fn lose_database(&self) {
        self.context.message_store.pool.close();
    }

    pub async fn placed(&self) -> OrderId {
        self.placing.place(request(None)).await.unwrap().order_id
    }

    /// A new key of this client.
    pub async fn key(&self, client: &str, role: Role) -> String {
        let key = ApiKey::new(&SystemEnv);
        let pool = &self.context.message_store.pool;
        store::create_key(pool, &key, client, role).await.unwrap();
        key.to_string()
    }

    /// Handles it as the consumer does.
    pub async fn hear<E: Event>(&self, event: E)
    where
        Order: On<E>,
    {
        self.hear_after(None, event).await;
    }

    /// With what has caused it.
    pub async fn hear_after<E: Event>(&self, caused_by: Option<EventId>, event: E)
    where
        Order: On<E>,
    {
        let at = self.context.env.now();
        let mut consumed = Consumed(Heard { at, caused_by, ..heard(event) });
        self.context.committer(&self.orders).commit(&mut consumed).await.unwrap();
    }

    pub async fn confirm(&self, order_id: OrderId) {
        self.hear(approved(order_id)).await;
        self.hear(InventoryReserved { order_id, items: vec![] }).await;
        self.hear(scheduled(order_id)).await;
    }

    pub async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.context.message_store.pool).await.unwrap()
    }
}

/// An event as a unit of work. The consumer's own reads messages, and checks the inbox.
struct Consumed<E>(Heard<E>);

impl<E: Event, S: Store<State = Order>, L: MessageStore<Tx = S::Tx>> Work<S, L> for Consumed<E>
where
    Order: On<E>,
{
    type Stop = Failure;
    type Locked = ();

    const COMMITTED: CrashPoint = CrashPoint::Committed;

    fn wanted(&self) -> Wanted {
        Wanted::orders([self.0.order_id()])
    }

    async fn lock<'a>(
        &self,
        message_store: &'a L,
        tx: &mut S::Tx,
    ) -> Result<Reply<'a, ()>, Failure> {
        message_store.lock_orders(tx, &[self.0.order_id()]).await?;
        Ok(reply(Ok(())))
    }

    fn decide(&mut self, (): (), states: &mut States<'_, S>) -> Result<(), Failure> {
        let order_id = self.0.order_id();
        let decision = states.get(order_id, &[]).on(&self.0);
        if let Decision::Change { state, says } = decision {
            states.change(order_id, state, says, &self.0.as_cause());
        }
        Ok(())
    }
}

/// Adds the host, as every client of HTTP/1.1 does.
async fn with_host(mut request: HttpRequest) -> HttpRequest {
    let host = HeaderValue::from_static("localhost");
    request.headers_mut().entry(header::HOST).or_insert(host);
    request
}

pub fn item(quantity: u32, cents: i64) -> Item {
    let product_id = ProductId::from_u128(1);
    Item { product_id, quantity, unit_price: Money::cents(cents) }
}

pub fn draft() -> Draft {
    Draft {
        customer_id: Uuid::from_u128(5),
        payment_method: PaymentMethod::Pix,
        items: vec![item(2, 4990), item(1, 5)],
        total_amount: Money::cents(9985),
    }
}

pub fn request(key: Option<&str>) -> Request {
    Request { draft: draft(), key: key.map(Into::into), client: None, trace: None }
}

pub fn approved(order_id: OrderId) -> PaymentApproved {
    let (amount, provider_ref) = (Money::cents(9985), "ch_1".into());
    PaymentApproved { order_id, amount, provider_ref, items: vec![] }
}

pub fn scheduled(order_id: OrderId) -> ShippingScheduled {
    let (tracking_code, freight) = ("TRK-00000001".into(), Money::cents(1300));
    ShippingScheduled { order_id, tracking_code, freight, delivery_days: 3 }
}

pub fn short(order_id: OrderId) -> InventoryFailed {
    InventoryFailed { order_id, short: vec![] }
}

pub fn reversed(order_id: OrderId) -> PaymentReversed {
    PaymentReversed { order_id, amount: Money::cents(9985), refund_ref: "re_1".into() }
}

/// An `Env` whose clock stands still until the test moves it.
pub struct Still {
    now: Mutex<DateTime<Utc>>,
}

impl Still {
    pub fn new() -> Arc<Self> {
        Arc::new(Self { now: Mutex::new(SystemEnv.now()) })
    }

    pub fn forward(&self, milliseconds: i64) {
        *self.now.lock().unwrap() += TimeDelta::milliseconds(milliseconds);
    }
}

impl Env for Still {
    fn now(&self) -> DateTime<Utc> {
        *self.now.lock().unwrap()
    }

    fn random(&self) -> u64 {
        SystemEnv.random()
    }
}
