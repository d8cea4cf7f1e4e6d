//! The order service on one screen: what it is told from outside, what it hears, and its routes.

mod api;
mod cancelling;
mod deadline;
mod http;
mod measure;
mod on;
mod order;
mod page;
mod placing;
mod saying;
mod store;
mod telling;
mod view;
mod waiting;
mod watchers;

#[cfg(test)]
mod testing;

use events::{
    InventoryFailed, InventoryReserved, PaymentApproved, PaymentFailed, PaymentReversed,
    ShippingFailed, ShippingScheduled,
};
use messaging::Store;
use service::{Service, parse_duration};
use std::{net::SocketAddr, sync::Arc, time::Duration};

pub use cancelling::{Outcome, cancel};
pub use deadline::Deadline;
pub use http::{App, routes};
pub use order::{Cancel, Fact, Order, Status};
pub use page::{Page, PageSettings};
pub use placing::{Answered, Draft, Placing, Refusal, Request, Writer};
pub use saying::say;
pub use store::{Answer, Cancellable, Loaded, OrderBook, Orders, Placed};
pub use view::View;
pub use waiting::Waiting;

pub const NAME: &str = "order";

mod embedded {
    refinery::embed_migrations!("migrations");
}

#[derive(clap::Args, Clone, Debug)]
pub struct Settings {
    /// Where HTTP listens
    #[arg(long, env = "HTTP_ADDR", default_value = "127.0.0.1:3001", value_name = "HTTP_ADDR")]
    pub http_addr: SocketAddr,
    /// Requests a second that one client address may send; 0 is no limit
    #[arg(long, env = "RATE_LIMIT", default_value = "0", value_name = "RATE_LIMIT")]
    pub rate_limit: u32,
    /// Requests at work at the same time, at most; one more is answered 503
    #[arg(long, env = "HTTP_IN_FLIGHT_MAX", default_value = "1024")]
    #[arg(value_name = "HTTP_IN_FLIGHT_MAX", value_parser = clap::value_parser!(u32).range(1..))]
    pub in_flight_max: u32,
    /// Event streams open at the same time, at most; one more is answered 503
    #[arg(long, env = "HTTP_STREAMS_MAX", default_value = "1024")]
    #[arg(value_name = "HTTP_STREAMS_MAX", value_parser = clap::value_parser!(u32).range(1..))]
    pub streams_max: u32,
    /// An order that is not final by then is cancelled; 0s is never
    #[arg(long, env = "ORDER_DEADLINE", default_value = "10m", value_name = "ORDER_DEADLINE")]
    #[arg(value_parser = parse_duration)]
    pub order_deadline: Duration,
    /// How long the answer to an Idempotency-Key is kept
    #[arg(long, env = "HTTP_KEYS_KEPT", default_value = "1440m", value_name = "HTTP_KEYS_KEPT")]
    #[arg(value_parser = parse_duration)]
    pub keys_kept: Duration,
    #[command(flatten)]
    pub page: PageSettings,
}

pub fn service(settings: &Settings) -> anyhow::Result<Service<Orders>> {
    let orders = Orders::default();
    let (placing, writer) = Placing::channel(settings.in_flight_max as usize);
    let (page, hub) = Page::new(&settings.page, settings.order_deadline);
    let routes = {
        let (settings, orders) = (settings.clone(), orders.clone());
        move |context| routes(App::new(&settings, context, orders, placing, page))
    };
    let watchers = orders.watchers.clone();
    let writer = writer.telling(orders.news.clone());
    let Settings { order_deadline, keys_kept, .. } = *settings;
    let deadline = Arc::new(Deadline::new(orders.clone(), order_deadline));
    Ok(reactions(orders.clone())
        .migrations(embedded::migrations::runner().get_migrations().clone())
        .worker("place orders", |context| writer.run(context))
        .worker("look for the live page", |context| hub.run(context, watchers))
        .samples(move |context| measure::orders(context, order_deadline))
        .every(Duration::from_secs(1), "cancel overdue orders", move |context| {
            let deadline = deadline.clone();
            async move { deadline.enforce(&context).await }
        })
        .every(Duration::from_mins(1), "tell of stuck orders", move |context| {
            cancelling::complain(context, order_deadline)
        })
        .every(Duration::from_mins(1), "forget old answers", move |context| {
            placing::forget(context, keys_kept)
        })
        .http(settings.http_addr, routes))
}

/// What it hears, wherever it keeps what it knows.
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
