//! Loyalty: a point for each piece that is paid for, good for a year. The fifth service, which
//! `docs/add-a-service.md` explains; the four know nothing of it.

mod on;
mod points;
mod store;

use clap::Args;
use events::PaymentApproved;
use service::{Service, parse_duration};
use std::time::Duration;

pub use points::{Points, PointsGiven};
pub use store::Accounts;

pub const NAME: &str = "loyalty";

#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// How often points are looked for that are too old
    #[arg(long, env = "EXPIRE_EVERY", default_value = "60m", value_name = "EXPIRE_EVERY")]
    #[arg(value_parser = parse_duration)]
    pub expire_every: Duration,
}

mod embedded {
    refinery::embed_migrations!("migrations");
}

pub fn service(settings: &Settings) -> anyhow::Result<Service<Accounts>> {
    Ok(Service::new(NAME, Accounts)
        .migrations(embedded::migrations::runner().get_migrations().clone())
        .on::<PaymentApproved>()
        .every(settings.expire_every, "expire old points", store::expire))
}
