//! The saga in a browser: the decisions that the services ship, compiled from the services' own
//! files, between queues that are lists. For the page of the site (`docs/playground/`).
//!
//! A service's crate brings its database and its broker, which no browser has. Its decisions depend
//! on neither, so their files are modules here, under the names that they know each other by.

// The tests in the services' files are the services' own.
#![cfg(not(test))]

// The retry policy imports it from there.
extern crate self as database;

#[path = "../../../shared/database/src"]
mod files_of_database {
    pub mod backoff;
}
#[path = "../../../services/order/src"]
mod files_of_order {
    mod on;
    pub mod order;
}
#[path = "../../../services/payment/src"]
mod files_of_payment {
    mod on;
    pub mod payment;
    pub mod policy;
    pub mod verdict;
    pub mod gateway {
        pub mod simulated {
            pub mod demo;
        }
    }
}
#[path = "../../../services/inventory/src"]
mod files_of_inventory {
    mod on;
    pub mod shelf;
}
#[path = "../../../services/shipping/src"]
mod files_of_shipping {
    pub mod dispatch;
    mod on;
}

mod provider;
mod queues;
mod stores;
mod system;
mod view;
#[cfg(target_family = "wasm")]
mod wasm;

pub use files_of_database::backoff::Backoff;
pub use files_of_inventory::shelf::{self, Product, Shelf};
pub use files_of_order::order;
pub use files_of_payment::{payment, policy, verdict};
pub use files_of_shipping::dispatch;
pub use provider::gateway;
pub use system::System;

/// The service that `order.rs` belongs to.
pub const NAME: &str = "order";
