//! Payment: charges an order once and refunds it once. Its reactions only record what is due; the
//! charge desk calls the provider, so that no message waits for a slow provider.

pub mod audit;
mod breaker;
mod charge_dispatch;
mod desk;
mod gateway;
mod metrics;
mod on;
mod payment;
mod policy;
mod settings;
mod store;
mod verdict;

use events::{InventoryFailed, InventoryReleased, OrderCancelRequested, OrderCreated};
use messaging::Store;
use service::Service;
use std::{sync::Arc, time::Duration};

pub use charge_dispatch::{ChargeDispatch, Charges};
pub use desk::{ChargeRepository, Desk};
pub use gateway::{Answer, Asked, Gateway, Http, Request, Simulated, read};
pub use payment::{Call, Charge, Payment, Status};
pub use policy::Policy;
pub use settings::Settings;
pub use store::Payments;
pub use verdict::{Verdict, settle};

pub const NAME: &str = "payment";
/// So soon a copy takes over from a dead one.
const REAP_EVERY: Duration = Duration::from_secs(1);

mod embedded {
    refinery::embed_migrations!("migrations");
}

pub fn service(settings: &Settings) -> anyhow::Result<Service<Payments>> {
    settings.check()?;
    let migrations = embedded::migrations::runner().get_migrations().clone();
    let gateway = match gateway(settings) {
        Ok(gateway) => gateway,
        Err(reason) => {
            let payments = Payments::new(ChargeDispatch::unmanned());
            return Ok(reactions(payments).migrations(migrations).refusing(reason));
        }
    };
    let desk = Desk::new(gateway, settings.clone());
    let reaper = desk.clone();
    Ok(reactions(Payments::new(desk.dispatch()))
        .migrations(migrations)
        .worker("charge desk", move |context| desk.run(context))
        .samples(metrics::payments)
        .every(REAP_EVERY, "reclaim charges of dead copies", move |context| {
            reaper.clone().reap(context)
        }))
}

/// The service's reactions, over any store.
pub fn reactions<S: Store<State = Payment>>(store: S) -> Service<S> {
    Service::new(NAME, store)
        .on::<OrderCreated>()
        .on::<OrderCancelRequested>()
        .on::<InventoryFailed>()
        .on::<InventoryReleased>()
}

fn gateway(settings: &Settings) -> anyhow::Result<Arc<dyn Gateway>> {
    Ok(match settings.provider()? {
        Settings::SIMULATED => Arc::new(Simulated),
        url => {
            let (timeout, credentials) = (settings.gateway_timeout, settings.credentials()?);
            Arc::new(Http::new(url, timeout, settings.gateway_ca_file.as_deref(), credentials)?)
        }
    })
}
