//! `saga load`: a bounded load with a report, and then the question whether everything still holds.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::order::Target;
use super::verify;
use crate::api::Filter;
use crate::draw::{self, LiveLine, count, some};
use crate::load::{self, Load, Mix, Report};
use crate::settings::Settings;
use crate::snapshot::Places;
use crate::verify::Verdict;

/// Place orders, so many at a time, report, and verify
#[derive(Args)]
pub struct LoadCommand {
    #[command(flatten)]
    target: Target,
    /// Orders in all
    #[arg(long, short = 'n', default_value_t = 2000)]
    orders: usize,
    /// Orders that are not final yet, at most
    #[arg(long, short = 'm', default_value_t = 64)]
    #[arg(value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=20_000))]
    in_flight: usize,
    /// Scenarios with their weights, such as confirmed=80,declined=20 [default: confirmed]
    #[arg(long)]
    mix: Option<Mix>,
    /// Seconds that an order may take
    #[arg(long, default_value_t = 120)]
    patience: u64,
    /// Do not verify afterwards
    #[arg(long)]
    no_verify: bool,
}

impl LoadCommand {
    pub async fn run(self) -> Result<ExitCode> {
        let api = self.target.api()?;
        // One line about a service that is not there is enough.
        api.list(&Filter { limit: Some(1), ..Filter::default() }).await?;
        let load = Load {
            orders: self.orders,
            in_flight: self.in_flight,
            mix: self.mix.clone().unwrap_or_default(),
            patience: Duration::from_secs(self.patience),
            pace: Duration::ZERO,
            enough: CancellationToken::new(),
            over: CancellationToken::new(),
        };
        let mut live = LiveLine::new(!self.target.json);
        let mut shown = Instant::now();
        let report = load::run(&api, &load, |so_far, took| {
            if shown.elapsed() > Duration::from_millis(200) {
                shown = Instant::now();
                live.show(&format!(
                    "{:>4} s  {} of {} finished, {} failed requests",
                    took.as_secs(),
                    count(so_far.finished),
                    count(load.orders),
                    count(so_far.errors),
                ));
            }
        })
        .await;
        live.clear();
        let is_shown = !self.target.json;
        if is_shown {
            print(&report, &load);
        }
        let verdict = if self.no_verify { None } else { Some(self.verify(&report).await?) };
        if self.target.json {
            let verify = verdict.as_ref().and_then(|verdict| verdict.as_ref().ok());
            draw::json(&json!({ "load": report, "verify": verify }));
        }
        let own = if report.is_as_asked() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        let verified = verdict.map(|verdict| verify::report(&verdict, is_shown));
        Ok(verified.filter(|code| *code != ExitCode::SUCCESS).unwrap_or(own))
    }

    async fn verify(&self, report: &Report) -> Result<Result<Verdict>> {
        let places = Places::from(&Settings::read()?);
        let wait = Duration::from_secs(60);
        Ok(verify::judge(&places, wait, &report.told, !self.target.json).await)
    }
}

fn print(report: &Report, load: &Load) {
    draw::line(format_args!(
        "{}, {} in flight: {:.1} s",
        some(load.orders, "order"),
        load.in_flight,
        report.seconds
    ));
    draw::line(format_args!(
        "placed {} ({:.0}/s), finished {} ({:.0}/s)",
        count(report.placed),
        report.placed_per_s,
        count(report.finished),
        report.finished_per_s,
    ));
    let mut table = draw::Table::new(&["ms", "p50", "p95", "p99", "max"]);
    for (what, spread) in [("POST", report.post_ms), ("POST to final", report.final_ms)] {
        let all = [spread.p50, spread.p95, spread.p99, spread.max];
        let cells = all.map(|ms| (None, format!("{ms:.1}")));
        table.row([(None, what.to_owned())].into_iter().chain(cells).collect());
    }
    table.print();
    for (status, number) in &report.by_status {
        draw::line(format_args!("{} {}", draw::in_status(status), count(*number)));
    }
    let troubles = [
        (report.unexpected, "ended otherwise than asked"),
        (report.unfinished, "were not final in time"),
        (report.refused, "could not be placed"),
    ];
    for (number, what) in troubles.into_iter().filter(|(number, _)| *number > 0) {
        draw::line(format_args!("{} {what}", count(number)));
    }
    for (error, number) in &report.errors {
        draw::line(format_args!("{} failed: {error}", some(*number, "request")));
    }
}
