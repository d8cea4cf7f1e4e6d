//! Connects to the whole system: four databases, the broker, the payment provider's records.
//! Read-only; a dead letter that it reads stays in its queue.

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use messaging::{Env, Retention, SystemEnv};

use crate::{Booking, Broker, Databases, Endpoints, Provider, Scope, Snapshot};

pub struct Sources {
    pub databases: Databases,
    pub broker: Broker,
    provider_url: Option<String>,
    provider: Option<Provider>,
    retention: Retention,
}

impl Sources {
    pub async fn connect(endpoints: &Endpoints) -> Result<Self> {
        let databases = Databases::connect(&endpoints.databases).await?;
        let broker = Broker::connect(endpoints).await?;
        let (provider_url, retention) = (endpoints.provider_url.clone(), endpoints.retention());
        Ok(Self { databases, broker, provider_url, provider: None, retention })
    }

    /// Queues, dead letters, and what operators did about them. The provider is asked again.
    pub async fn read_letters(&mut self, whole: &mut Snapshot) -> Result<()> {
        self.provider = None;
        whole.purged = self.databases.purged().await?;
        whole.repaired = self.databases.repaired().await?;
        whole.queues = self.broker.depths().await?;
        whole.dead_letters = self.broker.dead_letters().await?;
        whole.keys_kept_since = Some(self.keys_kept_since());
        Ok(())
    }

    pub fn keys_kept_since(&self) -> DateTime<Utc> {
        self.retention.since(SystemEnv.now())
    }

    /// The provider's records of these orders, if they can be read. The simulated provider keeps
    /// none, and another provider's do not cover its orders.
    pub async fn books(&mut self, part: &Snapshot, scope: &Scope) -> Result<Option<Provider>> {
        let Some(url) = &self.provider_url else { return Ok(None) };
        let mut references = part.payments.iter().filter_map(|p| p.provider_ref.as_deref());
        if references.any(|reference| reference.starts_with("SIM-")) {
            return Ok(None);
        }
        let all = match self.provider.take() {
            Some(all) => all,
            None => books(url).await.with_context(|| {
                format!("cannot read the mock gateway's charges at {url}: is it up?")
            })?,
        };
        let all = self.provider.insert(all);
        let of = |books: &[Booking]| {
            books.iter().filter(|booking| scope.contains(booking.order_id)).cloned().collect()
        };
        Ok(Some(Provider { charges: of(&all.charges), refunds: of(&all.refunds) }))
    }
}

async fn books(provider_url: &str) -> Result<Provider> {
    let client = https::client(provider_url, None)?.build()?;
    let answer = client.get(format!("{provider_url}/charges")).send().await?;
    Ok(answer.error_for_status()?.json().await?)
}
