//! Payment: charges an order once, and gives the money back once. Its reactions only record what is
//! due; the charge desk does it, so that no message waits for a slow provider.

mod desk;
mod gateway;
mod on;
mod payment;
mod store;
mod verdict;

use clap::Args;
use events::{InventoryFailed, InventoryReleased, OrderCancelRequested, OrderCreated};
use service::{Service, parse_duration};
use std::{sync::Arc, time::Duration};
use tokio::sync::Notify;

pub use desk::Desk;
pub use gateway::{Gateway, Simulated};
pub use payment::{Charge, Payment, Status};
pub use store::Payments;
pub use verdict::{Policy, Verdict, settle_charge, settle_refund};

pub const NAME: &str = "payment";

#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// How long the provider may take to answer; shorter than a shutdown may take
    #[arg(long, env = "PAYMENT_GATEWAY_TIMEOUT", default_value = "8s")]
    #[arg(value_name = "PAYMENT_GATEWAY_TIMEOUT", value_parser = parse_duration)]
    pub gateway_timeout: Duration,
    /// Age at which a charge that a crash left in hand is taken up again
    #[arg(long, env = "PAYMENT_REAP_AFTER", default_value = "60s")]
    #[arg(value_name = "PAYMENT_REAP_AFTER", value_parser = parse_duration)]
    pub reap_after: Duration,
    /// Tries before a payment fails for good, the first included
    #[arg(long, env = "PAYMENT_ATTEMPTS_MAX", default_value = "5")]
    #[arg(value_name = "PAYMENT_ATTEMPTS_MAX", value_parser = clap::value_parser!(u32).range(1..=20))]
    pub attempts_max: u32,
    /// The wait before the third try; it doubles from then on (the second try is at once)
    #[arg(long, env = "PAYMENT_RETRY_DELAY", default_value = "2s")]
    #[arg(value_name = "PAYMENT_RETRY_DELAY", value_parser = parse_duration)]
    pub retry_delay: Duration,
    /// Calls to the provider at the same time, at most
    #[arg(long, env = "PAYMENT_IN_FLIGHT_MAX", default_value = "256")]
    #[arg(value_name = "PAYMENT_IN_FLIGHT_MAX", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub in_flight_max: u32,
}

mod embedded {
    refinery::embed_migrations!("migrations");
}

pub fn service(settings: &Settings) -> anyhow::Result<Service<Payments>> {
    anyhow::ensure!(
        settings.gateway_timeout < settings.reap_after,
        "PAYMENT_GATEWAY_TIMEOUT must be shorter than PAYMENT_REAP_AFTER: \
         else a charge that is still in hand is taken for one that a crash has left"
    );
    let due = Arc::new(Notify::new());
    let desk = Desk::new(Arc::new(Simulated), due.clone(), settings.clone());
    let reaper = desk.clone();
    Ok(Service::new(NAME, Payments::new(due))
        .migrations(embedded::migrations::runner().get_migrations().clone())
        .on::<OrderCreated>()
        .on::<OrderCancelRequested>()
        .on::<InventoryFailed>()
        .on::<InventoryReleased>()
        .worker("charge desk", move |context| desk.run(context))
        .every(settings.reap_after / 4, "finish interrupted charges", move |context| {
            reaper.clone().reap(context)
        }))
}
