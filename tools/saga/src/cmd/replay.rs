//! `saga replay`: gives a service that has joined later the events that it missed.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use events::EventId;
use kit::endpoints::endpoints;
use kit::output::{self, LiveLine, count, some};
use kit::stop::Stop;

use crate::replay::{From, Moment, Replay, Report, Wanted};

/// Where there is no terminal.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// Replay published events into one queue, for a service that has joined later
///
/// Its queue has to be bound already, so that later events get there by themselves. Events keep
/// their ids: one that its service has handled has no effect. No other queue gets any.
#[derive(Args)]
#[command(after_help = "Examples:
  saga replay --to loyalty.payment-approved --since oldest
  saga replay --to loyalty.payment-approved --since 2h --until 2026-11-28T10:00:00Z --dry-run
  saga replay --to loyalty.payment-approved --after 019f2d1b-52d0-7bd1-8b5e-9a1c4f0e7d21")]
pub struct ReplayCommand {
    /// Queue, such as loyalty.payment-approved
    #[arg(long, value_name = "QUEUE")]
    to: String,
    #[command(flatten)]
    begin: Begin,
    /// Only events published before: ago, or a time
    #[arg(long, value_name = "TIME")]
    until: Option<Moment>,
    /// Maximum of events a second
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// Only count them
    #[arg(long)]
    dry_run: bool,
    /// Endpoints file (JSON), instead of the settings
    #[arg(long, value_name = "FILE")]
    places: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
struct Begin {
    /// Events published since: ago (90m, 2h), a time (2026-11-28T10:00:00Z), or oldest
    #[arg(long, value_name = "TIME")]
    since: Option<From>,
    /// Events after this one: where a replay was interrupted
    #[arg(long, value_name = "EVENT_ID")]
    after: Option<EventId>,
}

impl ReplayCommand {
    pub async fn run(self) -> Result<ExitCode> {
        let mut stop = Stop::listen()?;
        let from = self.begin.after.map(From::After).or_else(|| self.begin.since.clone());
        let from = from.context("say --since or --after")?;
        let wanted = Wanted { from, until: self.until.clone() };
        let endpoints = endpoints(self.places.as_deref()).await?;
        let mut replay = Replay::prepare(&endpoints, &self.to, &wanted).await?;
        if self.dry_run {
            let Report { queue, event, events, .. } = &replay.report;
            let told = format!("{} of {event} would go to {queue}", some(*events, "event"));
            self.print(&replay.report, &told);
            return Ok(ExitCode::SUCCESS);
        }
        let mut line = LiveLine::new(!self.json);
        let mut due = Instant::now() + TOLD_EVERY;
        let told = |report: &Report| {
            line.show(&progress(report));
            if !line.is_shown() && Instant::now() > due {
                due = Instant::now() + TOLD_EVERY;
                eprintln!("saga: {}{}", progress(report), go_on(report));
            }
        };
        let ended = tokio::select! {
            ended = replay.run(self.rate, told) => ended.map(|()| None),
            code = stop.asked() => Ok(Some(code)),
        };
        line.clear();
        if !matches!(ended, Ok(None)) {
            eprintln!("saga: interrupted: {}{}", progress(&replay.report), go_on(&replay.report));
        }
        let code = ended?.map_or(ExitCode::SUCCESS, ExitCode::from);
        self.print(&replay.report, &progress(&replay.report));
        Ok(code)
    }

    fn print(&self, report: &Report, told: &str) {
        match self.json {
            true => output::json(report),
            false => output::line(told),
        }
    }
}

fn progress(report: &Report) -> String {
    let Report { queue, event, events, replayed, .. } = report;
    format!("{} of {} of {event} replayed to {queue}", count(*replayed), some(*events, "event"))
}

fn go_on(report: &Report) -> String {
    report.last.map(|last| format!("; go on with --after {last}")).unwrap_or_default()
}
