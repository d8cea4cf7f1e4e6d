//! Holds the addresses of a running system's databases, broker and provider.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use messaging::{KEEP_DAYS, Retention};
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
    #[serde(default = "keep_days")]
    pub keep_days: u16,
}

const fn keep_days() -> u16 {
    KEEP_DAYS
}

impl Endpoints {
    /// The URL of a service's database.
    pub fn database(&self, service: &str) -> Result<&str> {
        let url = self.databases.get(service).map(String::as_str);
        url.with_context(|| format!("no database of {service} is known"))
    }

    pub const fn retention(&self) -> Retention {
        Retention::days(self.keep_days)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_that_an_operator_has_to_know_are_enough() {
        let text = r#"{
            "databases": { "order": "postgres://orders:orders@db/orders" },
            "amqp_url": "amqp://admin:admin@rabbitmq/%2f",
            "management_url": "http://rabbitmq:15672",
            "management_user": "admin",
            "management_password": "admin",
            "vhost": "/"
        }"#;
        let endpoints: Endpoints = serde_json::from_str(text).unwrap();
        assert_eq!(endpoints.keep_days, KEEP_DAYS);
    }
}
