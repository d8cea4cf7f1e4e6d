//! Holds the addresses of a running system's databases, broker and provider.

use std::collections::BTreeMap;

use messaging::Retention;
use serde::{Deserialize, Serialize};

/// It has passwords, and so no `Debug`.
#[derive(Clone, Deserialize, Serialize)]
pub struct Endpoints {
    /// By service.
    pub databases: BTreeMap<String, String>,
    /// With the virtual host.
    pub amqp_url: String,
    pub management_url: String,
    pub management_user: String,
    pub management_password: String,
    pub vhost: String,
    /// The stand-in for the payment provider, where there is one.
    pub provider_url: Option<String>,
    /// Retention of the services' idempotency keys, in days.
    pub keep_days: u16,
}

impl Endpoints {
    pub const fn retention(&self) -> Retention {
        Retention::days(self.keep_days)
    }
}
