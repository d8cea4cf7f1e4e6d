//! Finds each database's present primary, among the servers that may be it.

use std::time::Duration;

use anyhow::{Context, Result};
use database::PlainConnection;
use futures::future::join_all;
use servers::Follower;
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

impl Part {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Standby => "standby",
        }
    }
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

const FOLLOWER: &str = "\
SELECT current_setting('synchronous_standby_names') <> '', state, sync_state = 'sync',
       GREATEST(pg_wal_lsn_diff(pg_current_wal_flush_lsn(), flush_lsn), 0)::bigint
FROM (SELECT) AS one
LEFT JOIN pg_stat_replication ON application_name = 'standby'";

/// Whether the commits of the primary on this port wait for a standby, and the one that follows it.
pub async fn follower(database: &Database, port: u16) -> Result<(bool, Option<Follower>)> {
    let ask = async {
        let mut connection = connect(&database.superuser_url_at(port)).await?;
        let row: (bool, Option<String>, Option<bool>, Option<i64>) =
            sqlx::query_as(FOLLOWER).fetch_one(&mut connection).await?;
        let (waits, state, is_synchronous, lag) = row;
        let follower = state.map(|state| Follower {
            state,
            is_synchronous: is_synchronous.unwrap_or_default(),
            lag_bytes: lag.and_then(|lag| lag.try_into().ok()).unwrap_or_default(),
        });
        Ok((waits, follower))
    };
    timeout(ANSWER_WITHIN, ask).await?
}

async fn connect(url: &str) -> Result<PlainConnection> {
    PlainConnection::open(url).await.context("it does not answer")
}

async fn part(url: &str) -> Result<Part> {
    let mut connection = connect(url).await?;
    let is_standby = sqlx::query_scalar("SELECT pg_is_in_recovery()");
    let is_standby: bool = is_standby.fetch_one(&mut connection).await?;
    Ok(if is_standby { Part::Standby } else { Part::Primary })
}
