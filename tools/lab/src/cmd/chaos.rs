//! `lab chaos`: checks that every invariant holds after faults under load.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;
use kit::colour::Colour;
use kit::disk::{LOGS, REPORT, clear, ensure_room};
use kit::output::{self, count, some};
use messaging::{Env, SystemEnv, parse_duration};
use servers::{install, release};

use super::reported;
use crate::chaos::{Chaos, Every, Fault, Faults, Report, can_shift_clocks};
use crate::load::Mix;

/// Every ending of an order, and each cause of delay.
const MIX: &str = "confirmed=60,declined=8,unavailable=1,flaky=6,slow=3,sold-out=5,too-many=3,\
                   unknown-product=2,carrier=6,cancel-charged=3,cancel-uncharged=3";
/// Five servers, and the data of ten thousand orders.
const ROOM_MB: u64 = 2000;
const EXAMPLES: &str = "Examples:
  lab chaos --for 1m --faults broker,postgres-kill
  lab chaos --for 30s --orders 300 --faults bytes    one kind, for a while
  lab chaos --for 10m --faults node,leader,partition,failover
  lab chaos --seed 7                                 the same faults again
  lab chaos --for 20m --orders 20000 --faults broker,postgres --every 5s..40s
  make chaos SEED=7 FOR=20m ORDERS=20000 FAULTS=broker,postgres EVERY=5s..40s";

/// Inject faults under load, then verify
///
/// Starts a system of its own (RabbitMQ, four Postgres, the provider, each service twice, proxies
/// between them) on free ports, places orders, and kills, freezes, cuts, delays, repeats and
/// poisons by a plan that the seed tells. Where a named fault needs a cluster, the system is one:
/// three nodes, a standby for each Postgres. Then the faults stop, every order has to end, and the
/// invariants are checked. Exits with 0 only when all hold, nothing is unfinished and every fault
/// was injected. Nothing that runs already is touched.
#[derive(Args)]
#[command(after_help = after_help())]
pub struct ChaosCommand {
    /// The same seed gives the same faults [default: another one each time]
    #[arg(long, env = "SEED")]
    seed: Option<u64>,
    /// For how long there are faults, at most
    #[arg(long = "for", env = "FOR", default_value = "5m", value_parser = parse_duration)]
    length: Duration,
    /// Which faults, by name or first word [default: all]
    #[arg(long, env = "FAULTS")]
    faults: Option<Faults>,
    /// Place so many orders, and end once that is done [default: as many as there is time for]
    #[arg(long, env = "ORDERS")]
    orders: Option<usize>,
    /// From the beginning of one fault to that of the next
    #[arg(long, env = "EVERY", default_value = "5s..15s")]
    every: Every,
    /// Orders a second, at most
    #[arg(long, env = "RATE", default_value_t = 40)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// Maximum of orders in flight
    #[arg(long, short = 'm', default_value_t = 1000)]
    #[arg(value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=20_000))]
    in_flight: usize,
    /// The directory with the binaries of the previous release, for the fault release
    #[arg(long, env = "PREVIOUS")]
    previous: Option<PathBuf>,
    /// Take RabbitMQ from another Debian release, by its code name (downloads it once)
    #[arg(long, env = "RABBITMQ", value_name = "RELEASE")]
    rabbitmq: Option<String>,
    /// Scenarios with their weights, such as confirmed=80,declined=20 [default: all of them]
    #[arg(long)]
    mix: Option<Mix>,
    /// Where the report goes (report.json), and the logs where something is wrong
    #[arg(long, env = "REPORT", default_value = "target/chaos")]
    report: PathBuf,
    /// Print the report as JSON, and nothing else
    #[arg(long)]
    json: bool,
}

impl ChaosCommand {
    pub async fn run(self) -> Result<ExitCode> {
        ensure_room(&self.report, ROOM_MB, "free some, or name another disk by --report")?;
        install::ensure().await?;
        let rabbitmq = match &self.rabbitmq {
            Some(release) => Some(release::rabbitmq(Path::new(release::FOLDER), release).await?),
            None => None,
        };
        let chaos = Chaos {
            rabbitmq,
            seed: self.seed.unwrap_or_else(|| SystemEnv.random() % 1_000_000),
            length: self.length,
            faults: possible(self.faults.clone(), self.previous.is_some())?,
            previous: self.previous.as_deref().map(std::path::absolute).transpose()?,
            every: self.every,
            orders: self.orders,
            rate: self.rate,
            in_flight: self.in_flight,
            mix: self.mix.clone().map_or_else(|| MIX.parse(), Ok).map_err(anyhow::Error::msg)?,
        };
        if !self.json {
            let length = chaos.length.as_secs();
            output::line(format_args!("chaos with seed {} for {length} s at most", chaos.seed));
        }
        clear(&self.report)?;
        let dir = self.report.join(format!("run-{}", std::process::id()));
        let logs = self.report.join(LOGS);
        let run = chaos.run(&dir, &logs, !self.json);
        Ok(match reported(&self.report, self.json, run, print).await? {
            Ok(report) if report.breaks.is_empty() => ExitCode::SUCCESS,
            Ok(_) => ExitCode::FAILURE,
            Err(code) => code,
        })
    }
}

/// Faults that this machine cannot inject are left out, unless they are named.
fn possible(named: Option<Faults>, has_previous: bool) -> Result<Faults> {
    const MISSING: &str = "libfaketime is missing, which shifts a clock: apt-get install faketime";
    let is_named = named.is_some();
    let mut faults = named.unwrap_or_default();
    if faults.0.contains(&Fault::Clock) && !can_shift_clocks() {
        ensure!(!is_named, MISSING);
        eprintln!("the fault clock is left out: {MISSING}");
        faults.0.retain(|fault| *fault != Fault::Clock);
    }
    if faults.0.contains(&Fault::Release) && !has_previous {
        ensure!(!is_named, "the fault release needs the previous release's binaries: --previous");
        faults.0.retain(|fault| *fault != Fault::Release);
    }
    Ok(faults)
}

fn after_help() -> String {
    let all = Fault::ALL.map(Fault::name).join(", ");
    let of_clusters = Fault::OF_CLUSTERS.map(Fault::name).join(", ");
    format!("Faults: {all}\nFaults of a cluster: {of_clusters}\n\n{EXAMPLES}")
}

fn print(report: &Report, folder: &Path) {
    let faults = report.faults_by_name.iter();
    let faults: Vec<_> = faults.map(|(name, number)| format!("{number} {name}")).collect();
    output::line(format_args!(
        "{} in {:.0} s by seed {}, plan {}: {}",
        some(report.faults.len(), "fault"),
        report.took_s,
        report.asked.seed,
        report.plan,
        faults.join(", ")
    ));
    let failed = report.orders.errors.values().sum();
    output::line(format_args!(
        "{} placed, {} final, {} and repeated",
        some(report.orders.placed, "order"),
        count(report.orders.finished),
        some(failed, "failed request"),
    ));
    for (status, number) in &report.orders.by_status {
        output::line(format_args!("{} {}", output::in_status(status), count(*number)));
    }
    let mut table = output::Table::new(&["recovery", "of", "times", "p50 s", "max s", "goal s"]);
    for one in &report.recovery {
        let colour = if one.missed > 0 { Colour::Red } else { Colour::Green };
        table.row(vec![
            (None, one.measure.text().into()),
            (None, one.fault.into()),
            (None, one.times.to_string()),
            (None, format!("{:.2}", one.p50_s)),
            (Some(colour), format!("{:.2}", one.max_s)),
            (None, one.goal_s.map(|goal| format!("{goal:.0}")).unwrap_or_default()),
        ]);
    }
    table.print();
    memory(report);
    output::line(format_args!(
        "{} poisoned, {}",
        some(report.poisoned, "message"),
        some(report.dead_letters, "dead letter")
    ));
    output::line(format_args!("lost {}, doubled {}", report.lost, report.doubled));
    output::broken(&report.breaks);
    if report.breaks.is_empty() {
        let word = output::coloured(Some(Colour::Green), "everything holds");
        output::line(format_args!("{word}; see {}", folder.join(REPORT).display()));
    } else {
        let seed = report.asked.seed;
        let folder = folder.display();
        output::line(format_args!("see {folder}; the same faults again: --seed {seed}"));
    }
}

fn memory(report: &Report) {
    let mut table = output::Table::new(&["memory at most", "RSS MB", "PSS MB", "limit MB"]);
    for peak in &report.memory {
        let colour = if peak.is_too_much() { Colour::Red } else { Colour::Green };
        table.row(vec![
            (None, peak.service.into()),
            (Some(colour), format!("{:.0}", peak.rss_mb)),
            (None, format!("{:.0}", peak.pss_mb)),
            (None, format!("{:.0}", peak.limit_mb)),
        ]);
    }
    table.print();
}
