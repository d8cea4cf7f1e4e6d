//! `saga verify`: checks every invariant.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use audit::Told;
use clap::Args;
use kit::endpoints::present;
use kit::output;
use kit::settings::Settings;
use kit::verdict::{judge, report};

/// Check every invariant across the four databases and the broker
///
/// Exits with 0 when all hold, 1 when one is broken, 2 when the check could not finish.
#[derive(Args)]
#[command(after_help = "Examples:
  saga verify
  saga verify --wait 300 --json")]
pub struct Verify {
    /// Seconds to wait until the system is idle
    #[arg(long, default_value_t = 60)]
    wait: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Verify {
    pub async fn run(self) -> Result<ExitCode> {
        let endpoints = present(&Settings::read()?).await;
        let wait = Duration::from_secs(self.wait);
        let verdict = judge(&endpoints, wait, &Told::default(), !self.json).await;
        if let (true, Ok(verdict)) = (self.json, &verdict) {
            output::json(verdict);
        }
        Ok(report(&verdict, !self.json))
    }
}
