//! Inventory: reserves what an order asks for, all of it or nothing, and gives it back.

pub mod audit;
mod on;
mod shelf;
mod store;

use events::{PaymentApproved, ShippingFailed};
use messaging::Store;
use service::Service;

pub use shelf::{Product, Reservation, Shelf, Status};
pub use store::{Shelves, Stock};

pub const NAME: &str = "inventory";

/// It has no settings of its own.
#[derive(clap::Args)]
pub struct Settings {}

mod embedded {
    refinery::embed_migrations!("migrations");
}

pub fn service(_settings: &Settings) -> anyhow::Result<Service<Stock>> {
    Ok(reactions(Stock).migrations(embedded::migrations::runner().get_migrations().clone()))
}

/// What it hears, wherever it keeps what it knows.
pub fn reactions<S: Store<State = Shelf>>(store: S) -> Service<S> {
    Service::new(NAME, store).on::<PaymentApproved>().on::<ShippingFailed>()
}
