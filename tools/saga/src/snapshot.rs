//! Takes the whole system down as one `Snapshot`: four databases, the queues, the dead letters.
//! Reads only; a dead letter that it looks at stays where it is.

mod broker;
mod databases;
mod management;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use invariants::{Provider, Snapshot};
use messaging::Kept;
use serde::{Deserialize, Serialize};

use crate::settings::Settings;
use crate::topology::VHOST;

pub use broker::{Broker, Standing};
pub use databases::{Databases, Pulse};
pub use management::Management;

/// Where everything is.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Places {
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
    /// For so long the services keep idempotency keys.
    pub keep_days: u16,
}

impl From<&Settings> for Places {
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

impl Places {
    pub const fn kept(&self) -> Kept {
        Kept::days(self.keep_days)
    }

    /// As a file of JSON says, else as the settings do.
    pub fn read(file: Option<&Path>) -> Result<Self> {
        let Some(file) = file else { return Ok(Self::from(&Settings::read()?)) };
        let failed = || format!("cannot read where everything is from {}", file.display());
        serde_json::from_str(&fs::read_to_string(file).with_context(failed)?).with_context(failed)
    }
}

/// Connected to everything.
pub struct Sources {
    pub databases: Databases,
    pub broker: Broker,
    provider_url: Option<String>,
    kept: Kept,
}

impl Sources {
    pub async fn connect(places: &Places) -> Result<Self> {
        let databases = Databases::connect(&places.databases).await?;
        let broker = Broker::connect(places).await?;
        let (provider_url, kept) = (places.provider_url.clone(), places.kept());
        Ok(Self { databases, broker, provider_url, kept })
    }

    /// Each database at one moment of its own: together they are one only while nothing moves.
    pub async fn take(&mut self, now: DateTime<Utc>) -> Result<Snapshot> {
        let mut snapshot = Snapshot::default();
        self.databases.read(&mut snapshot).await.context("cannot read a database")?;
        snapshot.queues = self.broker.depths().await?;
        snapshot.dead_letters = self.broker.dead_letters().await?;
        // A simulated provider keeps no books, and those of another do not tell of its orders.
        let mut references = snapshot.payments.iter().filter_map(|p| p.provider_ref.as_deref());
        let is_simulated = references.any(|reference| reference.starts_with("SIM-"));
        if let Some(url) = self.provider_url.as_ref().filter(|_| !is_simulated) {
            snapshot.provider = Some(books(url).await.with_context(|| {
                format!("the mock gateway at {url} does not show its books: is it up?")
            })?);
        }
        snapshot.keys_kept_since = Some(self.kept.since(now));
        Ok(snapshot)
    }
}

async fn books(provider_url: &str) -> Result<Provider> {
    let answer = reqwest::get(format!("{provider_url}/charges")).await?;
    Ok(answer.error_for_status()?.json().await?)
}
