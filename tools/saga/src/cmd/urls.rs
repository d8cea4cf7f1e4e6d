//! `saga urls`: prints every address.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use kit::output;
use kit::settings::Settings;

use crate::urls::Urls;

/// Show where the page, the orders, RabbitMQ and the databases are
#[derive(Args)]
#[command(after_help = "Examples:
  saga urls
  psql \"$(saga urls --json | jq -r .databases.order)\"")]
pub struct UrlsCommand {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl UrlsCommand {
    pub fn run(self) -> Result<ExitCode> {
        let urls = Urls::of(&Settings::of_running()?);
        if self.json {
            output::json(&urls);
        } else {
            urls.print();
        }
        Ok(ExitCode::SUCCESS)
    }
}
