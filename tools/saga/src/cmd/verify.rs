//! `saga verify`: checks that everything holds that must.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use audit::{Endpoints, Told};
use clap::Args;
use kit::draw;
use kit::settings::Settings;
use kit::verdict::{judge, report};

/// Check every invariant across the four databases and the broker
///
/// Exits with 0 when all of them hold, 1 when one is broken, 2 when that cannot be told.
#[derive(Args)]
#[command(after_help = "Examples:
  saga verify
  saga verify --wait 300 --json")]
pub struct Verify {
    /// Seconds to wait for the system to become quiet
    #[arg(long, default_value_t = 60)]
    wait: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Verify {
    pub async fn run(self) -> Result<ExitCode> {
        let endpoints = Endpoints::from(&Settings::read()?);
        let wait = Duration::from_secs(self.wait);
        let verdict = judge(&endpoints, wait, &Told::default(), !self.json).await;
        if let (true, Ok(verdict)) = (self.json, &verdict) {
            draw::json(verdict);
        }
        Ok(report(&verdict, !self.json))
    }
}
