//! `saga failover`: makes a database's standby its primary.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Args;
use kit::home::Home;
use kit::output;
use kit::say;
use kit::settings::{Database, SERVICES, Settings};
use serde_json::json;
use servers::Postgres;

use crate::compose::{Compose, Pair};

/// Promote the standby of a service's database, and end its old primary
///
/// The old primary is killed first, so that there are never two. It does not return by itself: see
/// `saga standby`. The services find the new primary by themselves.
#[derive(Args)]
#[command(after_help = "Examples:
  saga failover order            then `saga standby order`
  saga failover order --force    though commits did not wait for the standby")]
pub struct Failover {
    #[arg(value_parser = SERVICES)]
    service: String,
    /// Promote a standby that may lack the last commits, which are lost
    #[arg(long)]
    force: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Failover {
    pub async fn run(self) -> Result<ExitCode> {
        let settings = Settings::of_running()?;
        let database = in_cluster(&settings, &self.service)?;
        let home = Home::new(&settings);
        let began = Instant::now();
        let port = if home.is_there() {
            let _lock = home.lock()?;
            fail_over(&home, database, self.force).await?;
            home.postgres(database).port
        } else {
            let (compose, _) = Compose::attach().await?;
            Pair::of(&compose, &settings, database).fail_over(self.force).await?
        };
        let took = began.elapsed().as_secs_f64();
        if self.json {
            let url = database.url_at(port);
            output::json(&json!({ "service": self.service, "primary": url, "took_s": took }));
        } else {
            let Self { service, .. } = &self;
            say!(
                "{service}'s primary is 127.0.0.1:{port}, after {took:.1} s; its commits wait for"
            );
            say!("no standby until `saga standby {service}`");
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The service's database, if it has a standby.
pub fn in_cluster<'a>(settings: &'a Settings, service: &str) -> Result<&'a Database> {
    let dir = settings.home.display();
    ensure!(
        settings.is_cluster,
        "{dir} holds no cluster, and no containers do: `saga up --cluster` or `make docker-up \
         CLUSTER=3` starts one"
    );
    settings.database(service).with_context(|| format!("there is no service {service}"))
}

/// Noted before the promotion: if this dies half-way, `saga up` completes it, and never starts the
/// old primary as one.
async fn fail_over(home: &Home<'_>, database: &Database, is_forced: bool) -> Result<()> {
    let service = database.service;
    let old = home.postgres(database);
    let standby = home.standby(database).map(Postgres::attach).transpose()?.flatten();
    let is_ready = standby.is_some_and(|standby| standby.is_ready());
    ensure!(is_ready, "{service}'s standby does not run: `saga up` starts what does not run");
    ensure!(
        is_forced || old.waits_for_standby(),
        "commits of {service}'s primary do not wait for the standby, which may lack some: `saga \
         standby {service}` while the primary runs, or --force, which loses them"
    );
    if let Some(mut old) = Postgres::attach(old)? {
        old.kill().await?;
    }
    home.note_failover(database)?;
    let new = Postgres::attach(home.postgres(database))?;
    new.with_context(|| format!("{service}'s standby has ended"))?.promote().await
}
