//! `saga verify`: checks every invariant.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use audit::{Told, Verdict};
use clap::Args;
use kit::endpoints::endpoints;
use kit::settings::Settings;
use kit::verdict::{CANNOT_CHECK, judge, judge_since, report};
use kit::{output, textfile};
use messaging::{Env, SystemEnv};
use tokio::time::sleep;

use super::play;

/// Check every invariant across the databases and the broker
///
/// Waits until the system is idle, and checks all orders. With --since-last it checks a working
/// system, and only the orders that changed since the last such check; it keeps in order's database
/// how far it is. The system of `saga play`, where no other runs, checks itself.
///
/// Exits with 0 when all hold, 1 when one is broken, 2 when the check could not finish.
#[derive(Args)]
#[command(after_help = "Examples:
  saga verify
  saga verify --wait 300 --json
  saga verify --since-last --watch 60 --metrics /var/lib/node_exporter/saga_verify.prom")]
pub struct Verify {
    /// Seconds to wait until the system is idle
    #[arg(long, default_value_t = 60)]
    wait: u64,
    /// Check the orders that changed since the last such check, under load
    #[arg(long, conflicts_with = "wait")]
    since_last: bool,
    /// Forget the last check: all orders, under load
    #[arg(long, requires = "since_last")]
    from_start: bool,
    /// Check again and again, with a pause of so many seconds
    #[arg(long, value_name = "SECONDS", requires = "since_last")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    watch: Option<u64>,
    /// Write metrics to this file, for node_exporter's textfile collector
    #[arg(long, value_name = "FILE")]
    metrics: Option<PathBuf>,
    /// Endpoints file (JSON), instead of the settings
    #[arg(long, value_name = "FILE")]
    places: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Verify {
    pub async fn run(mut self) -> Result<ExitCode> {
        loop {
            let code = self.once().await;
            let Some(seconds) = self.watch else { return Ok(code) };
            sleep(Duration::from_secs(seconds)).await;
        }
    }

    /// What prevents the check breaks no invariant, and has another exit code.
    async fn once(&mut self) -> ExitCode {
        let wait = Duration::from_secs(self.wait);
        let verdict = self.judge(wait).await;
        let can_play = !self.since_last && self.metrics.is_none() && self.places.is_none();
        if let (Err(_), true, Ok(settings)) = (&verdict, can_play, Settings::of_running())
            && let Some(code) = play::check(settings.order_http_port, wait, self.json).await
        {
            return code;
        }
        self.from_start &= verdict.is_err();
        if let (true, Ok(verdict)) = (self.json, &verdict) {
            output::json(verdict);
        }
        let code = report(&verdict, !self.json);
        let finished = verdict.ok().filter(Verdict::is_complete);
        let (Some(file), Some(verdict)) = (&self.metrics, finished) else { return code };
        match textfile::write(file, &verdict, SystemEnv.now()) {
            Ok(()) => code,
            Err(error) => {
                eprintln!("saga: {error:#}");
                if code == ExitCode::SUCCESS { ExitCode::from(CANNOT_CHECK) } else { code }
            }
        }
    }

    async fn judge(&self, wait: Duration) -> Result<Verdict> {
        let endpoints = endpoints(self.places.as_deref()).await?;
        if self.since_last {
            judge_since(&endpoints, self.from_start, !self.json).await
        } else {
            judge(&endpoints, wait, &Told::default(), !self.json).await
        }
    }
}
