//! The services beside the saga: which there are, and from when on they must have handled what they
//! hear.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use database::PlainConnection;
use events::{EventId, Step, said_at, services_in};

use super::{Databases, open};

impl Databases {
    /// Finds out from when on the services beside the saga must have what they hear: from their
    /// first start, and where a reaction came later, from the first event that it has handled.
    pub async fn find_due(&mut self, add_ons: &[Step]) -> Result<()> {
        for Step { service, hears, .. } in add_ons {
            let Some(start) = self.started(service) else { continue };
            let oldest = sqlx::query_scalar(
                "SELECT event_id
                 FROM idempotency_keys
                 WHERE event_type = $1
                 ORDER BY event_id
                 LIMIT 1",
            );
            let oldest: Option<EventId> =
                oldest.bind(hears).fetch_optional(self.of(service)?).await?;
            let first = oldest.and_then(said_at).unwrap_or(start);
            let of_service = self.due.entry((*service).to_owned()).or_default();
            of_service.insert((*hears).to_owned(), first.max(start));
        }
        Ok(())
    }

    /// The services beside the saga that cannot be read, each with the reason; without one, where
    /// no address of its database was given.
    pub fn unread(&self, add_ons: &[Step]) -> BTreeMap<String, Option<String>> {
        let absent = services_in(add_ons).filter(|it| !self.connections.contains_key(*it));
        let absent = absent.map(|service| (service.to_owned(), None));
        let missing = self.missing.iter().map(|(it, why)| (it.clone(), Some(format!("{why:#}"))));
        absent.chain(missing).collect()
    }

    /// The services beside the saga whose databases are there.
    pub fn beside(&self) -> Vec<String> {
        self.started.keys().cloned().collect()
    }

    /// The first start of a service beside the saga.
    pub fn started(&self, service: &str) -> Option<DateTime<Utc>> {
        self.started.get(service).copied()
    }
}

/// Returns when the service has started for the first time, too.
pub async fn open_beside(service: &str, url: &str) -> Result<(PlainConnection, DateTime<Utc>)> {
    let mut connection = open(service, url).await?;
    // The first migration's time, as refinery writes it.
    let start = sqlx::query_scalar(
        "SELECT MIN(applied_on::TIMESTAMPTZ)
         FROM messaging_schema_history",
    );
    let start: Option<DateTime<Utc>> = start
        .fetch_one(&mut connection)
        .await
        .with_context(|| format!("{service} has not made its tables yet: start it"))?;
    Ok((connection, start.with_context(|| format!("{service} has not made its tables yet"))?))
}
