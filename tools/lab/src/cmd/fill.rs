//! `lab fill`: fills the four databases with past orders.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;
use kit::endpoints::present;
use kit::output::{self, LiveLine, count};
use kit::settings::Settings;
use messaging::{Env, SystemEnv};

use crate::fill::{Past, fill};

/// Write confirmed past orders directly into the databases, to measure with large tables
#[derive(Args)]
#[command(after_help = "Example:
  lab fill --orders 1000000 --days 29")]
pub struct Fill {
    /// Orders in all
    #[arg(long, short = 'n', default_value_t = 1_000_000)]
    orders: u32,
    /// Over so many days, up to now
    #[arg(long, default_value_t = 29)]
    days: u16,
}

impl Fill {
    pub async fn run(self) -> Result<ExitCode> {
        let endpoints = present(&Settings::of_running()?).await;
        let began = Instant::now();
        let mut live = LiveLine::new(true);
        let span = Duration::from_hours(24 * u64::from(self.days));
        let past = Past { orders: self.orders, from: SystemEnv.now() - span, span };
        fill(&endpoints.databases, past, |done| {
            live.show(&format!("{} of {}", count(done as usize), count(self.orders as usize)));
        })
        .await?;
        live.clear();
        let (orders, seconds) = (count(self.orders as usize), began.elapsed().as_secs());
        output::line(format_args!("{orders} orders of the past, in {seconds} s"));
        Ok(ExitCode::SUCCESS)
    }
}
