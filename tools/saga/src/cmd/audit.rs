//! `saga audit`: lists what operators have done.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use chrono::TimeDelta;
use clap::Args;
use kit::endpoints::endpoints;
use kit::output::{self, Table};
use messaging::{Env, SystemEnv, parse_duration};
use order::store;

use crate::database;

/// List the acts of operators: who, what, when and why
///
/// Each act on a dead letter, on a key, and each cancel by an operator. The order service logs them
/// too. Without an outcome, the program ended before it knew.
#[derive(Args)]
#[command(after_help = "Examples:
  saga audit --since 1h
  saga audit --json | jq '.[] | select(.who == \"anna\")'")]
pub struct Audit {
    /// Of this time until now
    #[arg(long, default_value = "168h", value_parser = parse_duration)]
    since: std::time::Duration,
    /// Endpoints file (JSON), instead of the settings
    #[arg(long, value_name = "FILE")]
    places: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Audit {
    pub async fn run(self) -> Result<ExitCode> {
        let endpoints = endpoints(self.places.as_deref()).await?;
        let mut databases = database::of_order(&endpoints).await?;
        let since = SystemEnv.now() - TimeDelta::from_std(self.since)?;
        let acts = store::list_acts(databases.of("order")?, since).await?;
        if self.json {
            output::json(&acts);
            return Ok(ExitCode::SUCCESS);
        }
        let mut table = Table::new(&["at", "who", "via", "what", "subject", "outcome", "reason"]);
        for act in acts {
            let who = match act.key_id {
                Some(key) => format!("{} ({key})", act.who),
                None => act.who,
            };
            let (outcome, reason) =
                (act.outcome.unwrap_or_default(), act.reason.unwrap_or_default());
            let at = act.at.format("%F %T").to_string();
            let cells = [at, who, act.via, act.what, act.subject, outcome, reason];
            table.row(cells.map(|cell| (None, output::tame(&cell))).into());
        }
        table.print();
        Ok(ExitCode::SUCCESS)
    }
}
