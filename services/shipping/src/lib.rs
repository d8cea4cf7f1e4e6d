//! Shipping: hands reserved goods to a carrier, or publishes that no carrier takes them.

pub mod audit;
mod dispatch;
mod on;
mod store;

use events::{InventoryReserved, OrderCancelRequested};
use messaging::Store;
use service::Service;

pub use dispatch::{Dispatch, Shipment, Status};
pub use store::Shipments;

pub const NAME: &str = "shipping";

/// It has no settings of its own.
#[derive(clap::Args)]
pub struct Settings {}

mod embedded {
    refinery::embed_migrations!("migrations");
}

pub fn service(_settings: &Settings) -> anyhow::Result<Service<Shipments>> {
    Ok(reactions(Shipments).migrations(embedded::migrations::runner().get_migrations().clone()))
}

/// The service's reactions, over any store.
pub fn reactions<S: Store<State = Dispatch>>(store: S) -> Service<S> {
    Service::new(NAME, store).on::<InventoryReserved>().on::<OrderCancelRequested>()
}
