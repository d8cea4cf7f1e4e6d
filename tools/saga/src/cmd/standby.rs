//! `saga standby`: brings a database's standby back, or releases its primary from it.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Args;
use kit::home::Home;
use kit::output;
use kit::say;
use kit::settings::{Database, SERVICES, Settings};
use serde_json::json;
use servers::Postgres;

use super::failover::in_cluster;
use crate::compose::{Compose, Pair};

/// Bring back the standby of a service's database, or let the primary go on without it
///
/// After a failover the old primary becomes the standby. Data that cannot follow are deleted and
/// copied from the primary. From then on commits wait for the standby.
#[derive(Args)]
#[command(after_help = "Examples:
  saga standby order             after `saga failover order`, or when its standby is gone
  saga standby order --release   commits no longer wait for a standby that is gone")]
pub struct Standby {
    #[arg(value_parser = SERVICES)]
    service: String,
    /// Let the primary commit alone, until the next `saga standby`
    #[arg(long)]
    release: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Standby {
    pub async fn run(self) -> Result<ExitCode> {
        let Self { service, release, json } = self;
        let settings = Settings::of_running()?;
        let database = in_cluster(&settings, &service)?;
        let home = Home::new(&settings);
        let began = Instant::now();
        let port = if home.is_there() {
            let _lock = home.lock()?;
            bring_back(&home, database, release).await?
        } else {
            let (compose, _) = Compose::attach().await?;
            let pair = Pair::of(&compose, &settings, database);
            if release { pair.release().await? } else { pair.start_standby().await? }
        };
        let took = began.elapsed().as_secs_f64();
        if json {
            output::json(&json!({ "service": service, "waits": !release, "took_s": took }));
        } else if release {
            say!("{service}'s primary commits without a standby until `saga standby {service}`");
        } else {
            say!("{service}'s standby is 127.0.0.1:{port}, after {took:.1} s; commits wait for it");
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Returns the standby's port.
async fn bring_back(home: &Home<'_>, database: &Database, is_released: bool) -> Result<u16> {
    let service = database.service;
    let primary = Postgres::attach(home.postgres(database))?.with_context(|| {
        format!("{service}'s primary does not run: `saga up`, or `saga failover {service}`")
    })?;
    let standby = home.standby(database).context("a cluster has standbys")?;
    let port = standby.port;
    if is_released {
        primary.wait_for_standby(false).await?;
    } else {
        primary.start_standby(standby).await?;
    }
    Ok(port)
}
