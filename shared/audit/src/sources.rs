//! Reads the whole system into one `Snapshot`: four databases, the queues, the dead letters.
//! Read-only; a dead letter that it reads stays in its queue.

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use messaging::Retention;

use crate::{Broker, Databases, Endpoints, Provider, Readers, Snapshot};

/// Connected to everything.
pub struct Sources {
    pub databases: Databases,
    pub broker: Broker,
    provider_url: Option<String>,
    retention: Retention,
}

impl Sources {
    pub async fn connect(endpoints: &Endpoints) -> Result<Self> {
        let databases = Databases::connect(&endpoints.databases).await?;
        let broker = Broker::connect(endpoints).await?;
        let (provider_url, retention) = (endpoints.provider_url.clone(), endpoints.retention());
        Ok(Self { databases, broker, provider_url, retention })
    }

    /// Each database at its own moment: together they are consistent only while nothing moves.
    pub async fn take(&mut self, readers: &Readers, now: DateTime<Utc>) -> Result<Snapshot> {
        let mut snapshot = Snapshot::default();
        self.databases.read(readers, &mut snapshot).await.context("cannot read a database")?;
        snapshot.queues = self.broker.depths().await?;
        snapshot.dead_letters = self.broker.dead_letters().await?;
        // The simulated provider keeps no records, and another provider's do not cover these
        // orders.
        let mut references = snapshot.payments.iter().filter_map(|p| p.provider_ref.as_deref());
        let is_simulated = references.any(|reference| reference.starts_with("SIM-"));
        if let Some(url) = self.provider_url.as_ref().filter(|_| !is_simulated) {
            snapshot.provider = Some(books(url).await.with_context(|| {
                format!("cannot read the mock gateway's charges at {url}: is it up?")
            })?);
        }
        snapshot.keys_kept_since = Some(self.retention.since(now));
        Ok(snapshot)
    }
}

async fn books(provider_url: &str) -> Result<Provider> {
    let answer = reqwest::get(format!("{provider_url}/charges")).await?;
    Ok(answer.error_for_status()?.json().await?)
}
