//! The services' in-memory databases, for the test that compares them with Postgres.

pub use crate::{disk::Disk, fleet::usual, stores::inventory::Stock};
pub use memory_stores::{
    inventory::StockStore,
    order::{OrderStore, Orders},
    payment::{PaymentStore, Payments},
    shipping::ShipmentStore,
};

use crate::{Trace, chaos::Chaos};
use std::sync::Arc;

/// Empty, and without any fault.
pub fn flawless<D: Clone + Default + Send + Sync + 'static>() -> Disk<D> {
    let chaos = Chaos::new(0, None, Trace::default());
    chaos.heal();
    Disk::new(&Arc::new(chaos), 0)
}
