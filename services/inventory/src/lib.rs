//! Inventory: reserves all items of an order or none, and releases them on compensation.

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
    let service =
        reactions(Stock).migrations(embedded::migrations::runner().get_migrations().clone());
    #[cfg(not(feature = "demo"))]
    let service = service.preparation(store::WITHOUT_DEMO);
    Ok(service)
}

/// The service's reactions, over any store.
pub fn reactions<S: Store<State = Shelf>>(store: S) -> Service<S> {
    Service::new(NAME, store).on::<PaymentApproved>().on::<ShippingFailed>()
}
