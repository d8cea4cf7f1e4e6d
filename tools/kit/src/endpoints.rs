//! Reads the endpoints from the settings, or from a JSON file.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use audit::Endpoints;

use crate::settings::{Settings, VHOST};

impl From<&Settings> for Endpoints {
    fn from(settings: &Settings) -> Self {
        let databases = settings.databases.iter().map(|db| (db.service.to_owned(), db.url()));
        Self {
            databases: databases.collect(),
            amqp_url: settings.amqp_url(),
            management_url: settings.management_url(),
            management_user: settings.rabbitmq_user.clone(),
            management_password: settings.rabbitmq_password.clone(),
            vhost: VHOST.into(),
            provider_url: settings.mock_gateway_url(),
            keep_days: settings.keep_days,
        }
    }
}

/// The endpoints of the file, else of the settings.
pub fn endpoints(file: Option<&Path>) -> Result<Endpoints> {
    let Some(file) = file else { return Ok(Endpoints::from(&Settings::read()?)) };
    let failed = || format!("cannot read the endpoints from {}", file.display());
    serde_json::from_str(&fs::read_to_string(file).with_context(failed)?).with_context(failed)
}
