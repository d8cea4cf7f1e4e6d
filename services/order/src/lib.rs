//! The order service on one screen: its settings, the events it consumes, its jobs and its routes.
//! Its binary is in `page/`, which adds the live page.

pub mod acts;
pub mod audit;
mod cancelling;
mod deadline;
mod feed;
pub mod http;
pub mod keys;
mod metrics;
mod on;
mod order;
mod placing;
mod replicas;
mod root_event;
pub mod store;
mod view;
mod waiting;

#[cfg(any(test, feature = "testing"))]
pub mod testing;

use events::{
    InventoryFailed, InventoryReserved, PaymentApproved, PaymentFailed, PaymentReversed,
    ShippingFailed, ShippingScheduled,
};
use messaging::Store;
use service::{Context, Service, http::HttpSettings, parse_duration};
use std::{sync::Arc, time::Duration};

pub use cancelling::{Outcome, cancel};
pub use deadline::Deadline;
pub use feed::{Ending, Feeds, News, Tally, WatchAll, Watchers};
pub use http::{App, More, routes};
use keys::{ApiKeys, Keys, TokenSettings};
pub use order::{Cancel, Fact, Order, Status};
pub use placing::{Answered, Draft, Placing, Refusal, Request, Writer};
pub use root_event::root_event;
use store::Postgres;
pub use store::{
    Answer, Backend, Cancellable, Loaded, LockWait, OrderRepository, Orders, Placed, Unwritten,
};
pub use view::{Step, View};
pub use waiting::Waiting;

pub const NAME: &str = "order";

mod embedded {
    refinery::embed_migrations!("migrations");
}

#[derive(clap::Args, Clone, Debug)]
pub struct Settings {
    /// Age at which an order that is not final is cancelled; 0s: never
    #[arg(long, env = "ORDER_DEADLINE", default_value = "10m", value_name = "ORDER_DEADLINE")]
    #[arg(value_parser = parse_duration)]
    pub order_deadline: Duration,
    /// Retention of answers to an Idempotency-Key
    #[arg(long, env = "HTTP_KEYS_KEPT", default_value = "24h", value_name = "HTTP_KEYS_KEPT")]
    #[arg(value_parser = parse_duration)]
    pub keys_kept: Duration,
    /// Whether requests need an API key: as Authorization: Bearer qk_…; `saga keys` makes them
    #[arg(long, env = "API_KEYS", default_value = "off", value_name = "API_KEYS")]
    pub api_keys: ApiKeys,
    #[command(flatten)]
    pub tokens: TokenSettings,
    #[command(flatten)]
    pub http: HttpSettings,
}

impl Settings {
    pub fn keys(&self) -> anyhow::Result<Keys> {
        match (self.api_keys, self.tokens.tokens()?) {
            (ApiKeys::Required, tokens) => Ok(Keys::required(tokens)),
            (ApiKeys::Off, None) => Ok(Keys::default()),
            (ApiKeys::Off, Some(_)) => anyhow::bail!(
                "OIDC_ISSUER is set and API_KEYS is off, which lets everyone in: set \
                 API_KEYS=required; no key needs to be made"
            ),
        }
    }

    /// For each of the three kinds of streams: news, endings and the live page.
    pub const fn feed_bytes(&self) -> usize {
        self.http.stream_bytes() / 3
    }
}

pub fn service(settings: &Settings) -> anyhow::Result<Service<Orders>> {
    let orders = Orders { feeds: Feeds::with_capacity(settings.feed_bytes()) };
    service_with(settings, orders, Box::new(|_| More::default()))
}

/// Order's database, for reads beside the routes.
pub fn backend(context: Context, orders: Orders) -> Arc<dyn Backend> {
    Arc::new(Postgres { context, orders })
}

/// Routes beside the service's own.
pub type MoreRoutes = Box<dyn FnOnce(&App) -> More + Send>;

pub fn service_with(
    settings: &Settings,
    orders: Orders,
    more: MoreRoutes,
) -> anyhow::Result<Service<Orders>> {
    let (placing, writer) = Placing::channel(settings.http.in_flight_max as usize);
    let keys = settings.keys()?;
    let routes = {
        let (settings, orders, keys) = (settings.clone(), orders.clone(), keys.clone());
        move |context| {
            let app = App::new(&settings, context, orders, placing, keys);
            let more = more(&app);
            routes(app, more)
        }
    };
    let feeds = orders.feeds.clone();
    let writer = writer.with_feeds(feeds.clone());
    let (order_deadline, keys_kept) = (settings.order_deadline, settings.keys_kept);
    let deadline = Arc::new(Deadline::new(orders.clone(), order_deadline));
    let service = reactions(orders)
        .migrations(embedded::migrations::runner().get_migrations().clone())
        .worker("place orders", |context| writer.run(context))
        .worker("look for API keys", |context| keys.run(context))
        .worker("look for streams", |context| replicas::run(context, feeds))
        .samples(move |context| metrics::orders(context, order_deadline))
        .every(Duration::from_secs(1), "cancel overdue orders", move |context| {
            let deadline = deadline.clone();
            async move { deadline.enforce(&context).await }
        })
        .every(Duration::from_secs(1), "log operators' acts", acts::log)
        .every(Duration::from_mins(1), "report stuck orders", move |context| {
            cancelling::complain(context, order_deadline)
        })
        .every(Duration::from_mins(1), "delete expired HTTP idempotency keys", move |context| {
            placing::forget(context, keys_kept)
        })
        .http(settings.http.listen(), routes);
    Ok(service)
}

/// The service's reactions, over any store.
pub fn reactions<S: Store<State = Order>>(store: S) -> Service<S> {
    Service::new(NAME, store)
        .on::<PaymentApproved>()
        .on::<PaymentFailed>()
        .on::<PaymentReversed>()
        .on::<InventoryReserved>()
        .on::<InventoryFailed>()
        .on::<ShippingScheduled>()
        .on::<ShippingFailed>()
}
