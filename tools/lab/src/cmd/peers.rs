//! `lab peers`: measures the system beside other programs that run the same saga.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use kit::disk::{REPORT, ensure_room};
use kit::output::{self, LiveLine, Table, some};
use messaging::parse_duration;
use servers::install;

use super::reported;
use crate::document::write_table;
use crate::peers::{Comparison, IN_FLIGHT, News, Peer, RATE, Summary};

/// Five servers, and the data of some ten thousand orders.
const ROOM_MB: u64 = 2000;
const DOCUMENT: &str = "docs/performance.md";
const EXAMPLES: &str = "Examples:
  lab peers --rounds 1 --orders 1000 --for 5s       a first look
  make peers ROUNDS=5 ORDERS=8000";

/// Compare the system with peers that run the same saga: by hand on RabbitMQ, Restate, DBOS
///
/// Starts each on servers of its own (four Postgres with fsync, RabbitMQ where it is used) on free
/// ports, by turns; nothing that runs already is touched. The programs are in `tools/peers`, which
/// `make peers` builds; Restate's server comes from npm. Each gets the same orders by HTTP: first
/// as many as go with 64 in flight, which gives orders a second and processor time, then 50 a
/// second, which gives the time from POST to the final status. An order is final when a reader of
/// the orders table, which looks every 2 ms, finds it so. At the end some orders are undone, and
/// the databases must agree. Prints medians. Other work on the machine is measured with it.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct PeersCommand {
    /// How often everything is measured
    #[arg(long, env = "ROUNDS", default_value_t = 3)]
    #[arg(value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=100))]
    rounds: usize,
    /// Orders with 64 in flight, in each round
    #[arg(long, env = "ORDERS", default_value_t = 5000)]
    #[arg(value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    orders: usize,
    /// For how long orders are placed at 50 a second, in each round
    #[arg(long = "for", env = "FOR", default_value = "20s", value_parser = parse_duration)]
    length: Duration,
    /// Measure only these, with commas between them
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Peer>,
    /// Where the report goes (report.json)
    #[arg(long, env = "REPORT", default_value = "target/peers/run")]
    report: PathBuf,
    /// Write the table into docs/performance.md too; README.md takes it from there
    #[arg(long, conflicts_with = "only")]
    write_docs: bool,
    /// Print the report as JSON, and nothing else
    #[arg(long)]
    json: bool,
}

impl PeersCommand {
    pub async fn run(self) -> Result<ExitCode> {
        ensure_room(&self.report, ROOM_MB, "free some, or name another disk by --report")?;
        install::ensure().await?;
        let Self { rounds, orders, length, .. } = self;
        let all = || Peer::value_variants().to_vec();
        let peers = if self.only.is_empty() { all() } else { self.only.clone() };
        let asked = Comparison { peers, rounds, orders, length, built: built()? };
        let run = async {
            let mut live = LiveLine::new(!self.json);
            let run = asked.run(&self.report, |news| tell(&mut live, !self.json, rounds, news));
            let summary = run.await;
            live.clear();
            summary
        };
        let summary = match reported(&self.report, self.json, run, print).await? {
            Ok(summary) => summary,
            Err(code) => return Ok(code),
        };
        if self.write_docs {
            write_table(Path::new(DOCUMENT), "saga:peers", &summary.markdown())?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// `target/peers`, beside the folder with this command.
fn built() -> Result<PathBuf> {
    let this = std::env::current_exe().context("cannot tell where this command lies")?;
    let target = this.ancestors().nth(2).context("this command lies in no target folder")?;
    Ok(target.join("peers"))
}

fn tell(live: &mut LiveLine, is_shown: bool, rounds: usize, news: News) {
    match news {
        News::Begins { round, peer } => {
            live.show(&format!("round {round} of {rounds}: {}", peer.title()));
        }
        News::Measured { round, peer, figures } if is_shown => {
            live.clear();
            output::line(format_args!(
                "round {round}  {:<32} {:>6.0}/s  {:.2} CPU-s/1,000  p99 {:>6.1} ms  {:>4.0} MB",
                peer.title(),
                figures.orders_per_s,
                figures.cpu_s_per_1000_orders,
                figures.final_ms.p99,
                figures.pss_mb
            ));
        }
        News::Measured { .. } => {}
    }
}

fn print(summary: &Summary, folder: &Path) {
    output::line(format_args!(
        "\nmedians of {}: {} with {IN_FLIGHT} in flight, then {RATE} a second",
        some(summary.rounds, "round"),
        some(summary.orders, "order"),
    ));
    let titles = summary.titles();
    let mut table = Table::new(&titles.each_ref().map(String::as_str));
    for row in &summary.rows {
        table.row(row.cells().map(|cell| (None, cell)).into());
    }
    table.print();
    output::line(format_args!("\nsee {}", folder.join(REPORT).display()));
}
