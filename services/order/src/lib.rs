//! The order service on one screen: what it is told from outside, what it hears, and its routes.

pub mod audit;
mod cancelling;
mod deadline;
pub mod http;
mod looking;
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
use service::{Service, http::HttpSettings, parse_duration};
use std::{sync::Arc, time::Duration};

pub use cancelling::{Outcome, cancel};
pub use deadline::Deadline;
pub use http::{App, routes};
pub use order::{Cancel, Fact, Order, Status};
pub use page::{Page, PageSettings};
pub use placing::{Answered, Draft, Placing, Refusal, Request, Writer};
pub use saying::say;
pub use store::{Answer, Cancellable, Loaded, OrderBook, Orders, Placed, Unwritten};
pub use telling::{Ending, News};
pub use view::{Step, View};
pub use waiting::Waiting;

pub const NAME: &str = "order";

mod embedded {
    refinery::embed_migrations!("migrations");
}

#[derive(clap::Args, Clone, Debug)]
pub struct Settings {
    /// An order that is not final by then is cancelled; 0s is never
    #[arg(long, env = "ORDER_DEADLINE", default_value = "10m", value_name = "ORDER_DEADLINE")]
    #[arg(value_parser = parse_duration)]
    pub order_deadline: Duration,
    /// How long the answer to an Idempotency-Key is kept
    #[arg(long, env = "HTTP_KEYS_KEPT", default_value = "24h", value_name = "HTTP_KEYS_KEPT")]
    #[arg(value_parser = parse_duration)]
    pub keys_kept: Duration,
    #[command(flatten)]
    pub http: HttpSettings,
    #[command(flatten)]
    pub page: PageSettings,
}

pub fn service(settings: &Settings) -> anyhow::Result<Service<Orders>> {
    // Of the three kinds of streams: news, endings and the page.
    let stream_bytes = settings.http.stream_bytes() / 3;
    let orders = Orders::keeping(stream_bytes);
    let (placing, writer) = Placing::channel(settings.http.in_flight_max as usize);
    let (page, hub) = Page::new(&settings.page, settings.order_deadline, stream_bytes);
    let routes = {
        let (settings, orders) = (settings.clone(), orders.clone());
        move |context| routes(App::new(&settings, context, orders, placing, page))
    };
    let (watchers, looked_for) = (orders.watchers.clone(), orders.clone());
    let writer = writer.telling(orders.news.clone());
    let (order_deadline, keys_kept) = (settings.order_deadline, settings.keys_kept);
    let deadline = Arc::new(Deadline::new(orders.clone(), order_deadline));
    Ok(reactions(orders.clone())
        .migrations(embedded::migrations::runner().get_migrations().clone())
        .worker("place orders", |context| writer.run(context))
        .worker("look for streams", |context| looking::run(context, looked_for))
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
        .http(settings.http.listen(), routes))
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
