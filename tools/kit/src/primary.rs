//! Finds each database's present primary, among the servers that may be it.

use std::time::Duration;

use anyhow::{Context, Result};
use database::PlainConnection;
use futures::future::join_all;
use tokio::time::timeout;

use crate::settings::{Database, Listener, Settings};

const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// A database's server, and what it answers.
pub struct Candidate {
    pub url: String,
    pub listener: Listener,
    pub part: Result<Part>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Primary,
    Standby,
}

/// The servers of a database, each asked for its part.
pub async fn candidates(settings: &Settings, database: &Database) -> Vec<Candidate> {
    let servers = settings.servers_of(database);
    join_all(servers.into_iter().map(async |listener| {
        let url = database.url_at(listener.0);
        let part = timeout(ANSWER_WITHIN, part(&url)).await;
        let part = part.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer in {ANSWER_WITHIN:?}")));
        Candidate { url, listener, part }
    }))
    .await
}

/// The address of the present primary, if any server is it.
pub async fn url(settings: &Settings, database: &Database) -> Option<String> {
    let all = candidates(settings, database).await;
    let primary = all.into_iter().find(|one| matches!(one.part, Ok(Part::Primary)));
    primary.map(|primary| primary.url)
}

async fn part(url: &str) -> Result<Part> {
    let connected = PlainConnection::open(url).await;
    let mut connection = connected.context("it does not answer")?;
    let is_standby = sqlx::query_scalar("SELECT pg_is_in_recovery()");
    let is_standby: bool = is_standby.fetch_one(&mut connection).await?;
    Ok(if is_standby { Part::Standby } else { Part::Primary })
}
