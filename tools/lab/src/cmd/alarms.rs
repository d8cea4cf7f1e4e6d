//! `lab alarms`: checks that each alert rings for its fault, and no other.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::Args;
use kit::colour::Colour;
use kit::disk::{LOGS, clear, ensure_room};
use kit::output::{self, some};
use servers::{install, release};

use super::reported;
use crate::alarms::{Alarms, FAULTS, Fault, PAGE, Report, Scale, named};
use crate::document::write_table;

/// Five servers, and the data of ten thousand orders.
const ROOM_MB: u64 = 2000;
/// How many times faster than in production everything is.
const FASTER: u32 = 10;
const EXAMPLES: &str = "Examples:
  lab alarms                                  ten minutes or so
  lab alarms --only DeadLetters,NotConsuming
  lab alarms --real-time --only VerifyOld";

/// Check that each alert rings for its fault, and no other
///
/// Starts a system of its own (RabbitMQ, four Postgres, the provider, the services) on free ports,
/// with a Prometheus, a node_exporter (Debian's packages, installed where they are missing) and a
/// stand-in for the OpenTelemetry collector; nothing that runs already is touched. Prometheus has
/// the alerts and the configuration of deploy/observability, with all durations divided by ten:
/// intervals, ranges, limits in seconds, and the services' ORDER_DEADLINE and export interval. A
/// light load runs. Each fault is injected, its alerts must ring, it is repaired as its runbook
/// says, and all alerts must end. Meanwhile every query of the dashboards is evaluated. Exits with
/// 0 only when all of that holds, and the system's invariants.
#[derive(Args)]
#[command(after_help = after_help())]
pub struct AlarmsCommand {
    /// Only these faults, with commas between them
    #[arg(long, env = "ONLY", default_value = "", hide_default_value = true)]
    only: String,
    /// Divide no duration: two hours or so
    #[arg(long)]
    real_time: bool,
    /// Take RabbitMQ from another Debian release, by its code name (downloads it once)
    #[arg(long, env = "RABBITMQ", value_name = "RELEASE")]
    rabbitmq: Option<String>,
    /// Write the table into docs/alarms.md; all faults must have been tried
    #[arg(long, conflicts_with = "only")]
    write_docs: bool,
    /// Where the report goes (report.json), and the logs where something is wrong
    #[arg(long, env = "REPORT", default_value = "target/alarms")]
    report: PathBuf,
    /// Print the report as JSON, and nothing else
    #[arg(long)]
    json: bool,
}

impl AlarmsCommand {
    pub async fn run(self) -> Result<ExitCode> {
        let faults = named(&self.only).map_err(anyhow::Error::msg)?;
        ensure_room(&self.report, ROOM_MB, "free some, or name another disk by --report")?;
        install::ensure().await?;
        let rabbitmq = match &self.rabbitmq {
            Some(release) => Some(release::rabbitmq(Path::new(release::FOLDER), release).await?),
            None => None,
        };
        let scale = Scale(if self.real_time { 1 } else { FASTER });
        let alarms = Alarms { faults, scale, rabbitmq };
        clear(&self.report)?;
        let dir = self.report.join(format!("run-{}", std::process::id()));
        let logs = self.report.join(LOGS);
        let news = |line: &str| {
            if !self.json {
                output::line(line);
            }
        };
        let run = alarms.run(&dir, &logs, news);
        let report = match reported(&self.report, self.json, run, print).await? {
            Ok(report) => report,
            Err(code) => return Ok(code),
        };
        if !report.breaks.is_empty() {
            return Ok(ExitCode::FAILURE);
        }
        if self.write_docs {
            ensure!(report.faster == FASTER, "the table has seconds of a run without --real-time");
            write_table(Path::new(PAGE), "lab:alarms", &report.table())?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn after_help() -> String {
    let all: Vec<_> = FAULTS.iter().map(|Fault { name, .. }| *name).collect();
    format!("Faults: {}\n\n{EXAMPLES}", all.join(", "))
}

fn print(report: &Report, folder: &Path) {
    output::broken(&report.breaks);
    let word = match report.breaks.is_empty() {
        true => output::coloured(Some(Colour::Green), "each alert rings for its fault"),
        false => output::coloured(Some(Colour::Red), "not as it should be"),
    };
    output::line(format_args!(
        "{} in {:.0} s, {} times as fast as in production, {} queries of dashboards: {word}; see {}",
        some(report.rows.len(), "fault"),
        report.took_s,
        report.faster,
        report.queries,
        folder.display()
    ));
}
