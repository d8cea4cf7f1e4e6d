//! A fleet of the real binaries on real servers, for tests to use and break.

mod broker;
mod check;
mod clock;
mod collector;
mod command;
mod fault;
mod fleet;
mod https_server;
mod issuer;
mod orders;
mod process;
mod provider;
mod python;
mod recorder;
mod surely;

pub use broker::BrokerView;
pub use clock::WrongClock;
pub use collector::{Collector, Span};
pub use command::{Said, saga};
pub use fault::{mend, refuse};
pub use fleet::{Fleet, SERVICES, folder, given_broker, scratch_folder};
pub use https_server::HttpsServer;
pub use issuer::{Issuer, TokenKey, token};
pub use orders::{LIMITED, OVERSIZED, Order, PLENTY, SOLD_OUT, order, product};
pub use process::{ServiceProcess, target};
pub use provider::Provider;
pub use python::Python;
pub use recorder::Recorder;

use std::{future::Future, time::Duration};

/// A port without a listener.
pub fn free_address() -> String {
    format!("127.0.0.1:{}", servers::ports::free().expect("a free port"))
}

/// For everything that a test waits for: long, for a machine that does something else meanwhile.
pub const BOUND: Duration = Duration::from_secs(90);

/// Waits until a condition is true, and fails with the value that it found instead.
pub async fn until<T, F: Future<Output = Result<T, String>>>(mut happened: impl FnMut() -> F) -> T {
    let started = std::time::Instant::now();
    loop {
        match happened().await {
            Ok(found) => return found,
            Err(instead) if started.elapsed() > BOUND => {
                panic!("not within {} s: {instead}", BOUND.as_secs())
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}
