//! `lab bench`: measures the system, and the effect of each design choice.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use kit::disk::{REPORT, ensure_room};
use kit::output::{self, LiveLine, Table, some};
use messaging::parse_duration;
use servers::install;

use super::reported;
use crate::bench::{Bench, News, Row, Summary, named};
use crate::usage::Group;

/// Five servers, and the data of some ten thousand orders.
const ROOM_MB: u64 = 2000;
const EXAMPLES: &str = "Examples:
  lab bench --rounds 1 --orders 500 --for 2s        a first look
  make bench ROUNDS=5 ORDERS=8000";

/// Compare variants of the system by turns: batches, queue types, replicas, sales
///
/// Starts a system of its own (RabbitMQ, four Postgres, the services) on free ports for each thing
/// that is measured, in each round; nothing that runs already is touched. Prints medians and
/// ratios, and verifies every system. What differs: how messages are handled (batches, or one at a
/// time), what queues are (quorum or classic), what is sold (many products, one, a flash sale), how
/// many orders are placed (as many as go, 50 or 1,000 a second), how many copies there are of each
/// service, and how long the provider takes. Other work on the machine is measured with it.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct BenchCommand {
    /// How often everything is measured
    #[arg(long, env = "ROUNDS", default_value_t = 3)]
    #[arg(value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=100))]
    rounds: usize,
    /// Orders in each trial, at most, where no rate is kept
    #[arg(long, env = "ORDERS", default_value_t = 4000)]
    #[arg(value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    orders: usize,
    /// For how long orders are placed in each trial, at most
    #[arg(long = "for", env = "FOR", default_value = "8s", value_parser = parse_duration)]
    length: Duration,
    /// Maximum of orders in flight, without a rate
    #[arg(long, short = 'm', default_value_t = 256)]
    #[arg(value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=20_000))]
    in_flight: usize,
    /// Measure only what begins like one of these, with commas between them: as it is, no batches,
    /// classic queues, two of each, slow provider
    #[arg(long, default_value = "", hide_default_value = true)]
    only: String,
    /// Where the report goes (report.json)
    #[arg(long, env = "REPORT", default_value = "target/bench")]
    report: PathBuf,
    /// Print the report as JSON, and nothing else
    #[arg(long)]
    json: bool,
}

impl BenchCommand {
    pub async fn run(self) -> Result<ExitCode> {
        let setups = named(&self.only).map_err(anyhow::Error::msg)?;
        ensure_room(&self.report, ROOM_MB, "free some, or name another disk by --report")?;
        install::ensure().await?;
        let Self { rounds, orders, length, in_flight, .. } = self;
        let bench = Bench { setups, rounds, orders, length, in_flight };
        let run = async {
            let mut live = LiveLine::new(!self.json);
            let run = bench.run(&self.report, |news| tell(&mut live, !self.json, rounds, news));
            let summary = run.await;
            live.clear();
            summary
        };
        Ok(match reported(&self.report, self.json, run, print).await? {
            Ok(summary) if summary.breaks.is_empty() => ExitCode::SUCCESS,
            Ok(_) => ExitCode::FAILURE,
            Err(code) => code,
        })
    }
}

fn tell(live: &mut LiveLine, is_shown: bool, rounds: usize, news: News) {
    match news {
        News::Begins { round, what } => live.show(&format!("round {round} of {rounds}: {what}")),
        News::Measured { round, what, report } if is_shown => {
            live.clear();
            let cpu = report.usage.as_ref().map_or(0.0, |usage| usage.total.cpu_s_per_1000_orders);
            output::line(format_args!(
                "round {round}  {what:<24} {:>6.0}/s  p99 {:>6.0} ms  {cpu:.2} CPU-s/1,000",
                report.finished_per_s, report.final_ms.p99
            ));
        }
        News::Measured { .. } => {}
    }
}

fn print(summary: &Summary, folder: &Path) {
    output::line(format_args!(
        "\nmedians of {}, at most {} or {} s each; CPU-s of 1,000 orders, memory in MB (PSS)",
        some(summary.rounds, "round"),
        some(summary.orders, "order"),
        summary.trial_s,
    ));
    let titles = ["", "orders/s", "p50 ms", "p99 ms", "CPU", "services", "postgres", "rabbitmq"];
    let mut table = Table::new(&[&titles[..], &["load", "memory"]].concat());
    for row in &summary.rows {
        table.row(cells(row).into_iter().map(|cell| (None, cell)).collect());
    }
    table.print();
    output::line("");
    let mut table = Table::new(&["ratio", "orders/s", "p99", "CPU"]);
    for ratio in &summary.ratios {
        let numbers = [ratio.orders_per_s, ratio.p99_ms, ratio.cpu_s_per_1000_orders];
        let numbers = numbers.map(|number| (None, format!("{number:.2}")));
        table.row([(None, ratio.what.to_owned())].into_iter().chain(numbers).collect());
    }
    table.print();
    output::broken(&summary.breaks);
    output::line(format_args!("\nsee {}", folder.join(REPORT).display()));
}

fn cells(row: &Row) -> Vec<String> {
    let group = |group| row.groups.get(&group).copied().unwrap_or_default();
    let cpu = [Group::Services, Group::Postgres, Group::Rabbitmq, Group::Load].map(group);
    let start = [
        row.name.clone(),
        format!("{:.0}", row.orders_per_s),
        format!("{:.0}", row.final_ms.p50),
        format!("{:.0}", row.final_ms.p99),
        format!("{:.2}", row.cpu_s_per_1000_orders),
    ];
    let groups = cpu.map(|sum| format!("{:.2}", sum.cpu_s_per_1000_orders));
    start.into_iter().chain(groups).chain([format!("{:.0}", row.pss_mb)]).collect()
}
