//! `lab load`: runs a bounded load, reports, and verifies.

mod show;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use audit::Verdict;
use clap::Args;
use events::ProductId;
use kit::api::Filter;
use kit::endpoints::present;
use kit::output::{self, LiveLine, count};
use kit::settings::Settings;
use kit::target::{Target, product};
use kit::verdict;
use messaging::parse_duration;
use serde_json::json;
use tokio::time::sleep;

use crate::load::{self, Goods, Load, Mix, Progress, Report};
use crate::usage::Meter;

const ORDERS: usize = 2000;
const IN_FLIGHT: usize = 64;
/// More would only show that the system cannot keep up.
const IN_FLIGHT_MAX: usize = 20_000;
const VERIFY_MAX: Duration = Duration::from_secs(60);
const AGAIN_AFTER: Duration = Duration::from_secs(1);
const SHOWN_EVERY: Duration = Duration::from_millis(200);
const EXAMPLES: &str = "Examples:
  lab load -n 20000 -m 512                 as fast as it goes, 512 in flight
  lab load --rate 1000 --for 30s           a thousand a second, late or not
  lab load --products 200 -n 10000         spread over 200 products
  lab load --flash 500 -n 2000 -m 256      2,000 want one of 500 pieces
  lab load --mix confirmed=80,declined=20 --report load.json";

/// Place orders, report, and verify
///
/// Either so many are in flight, and each that ends makes room for the next; or there are so many a
/// second (`--rate`), and the time of each counts from when it was due, also where it had to wait.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct LoadCommand {
    #[command(flatten)]
    target: Target,
    /// Orders that count [default: 2000, or as many as there is time for]
    #[arg(long, short = 'n')]
    orders: Option<usize>,
    /// For how long orders that count are placed, e.g. 30s
    #[arg(long = "for", value_name = "FOR", value_parser = parse_duration)]
    length: Option<Duration>,
    /// Orders a second, however many are still in flight
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Maximum of orders in flight [default: 64, or 20000 with --rate]
    #[arg(long, short = 'm')]
    #[arg(value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=20_000))]
    in_flight: Option<usize>,
    /// For how long orders are placed before those that count
    #[arg(long, default_value = "2s", value_parser = parse_duration)]
    warm_up: Duration,
    /// Scenarios with their weights, such as confirmed=80,declined=20 [default: confirmed]
    #[arg(long)]
    mix: Option<Mix>,
    #[command(flatten)]
    goods: GoodsOption,
    /// Seconds that an order may take
    #[arg(long, default_value_t = 120)]
    patience: u64,
    /// Write the report as JSON into this file
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Do not verify afterwards
    #[arg(long)]
    no_verify: bool,
}

#[derive(Args)]
#[group(multiple = false)]
struct GoodsOption {
    /// All want a piece of this product, by its id or its last digits
    #[arg(long, value_parser = product)]
    product: Option<ProductId>,
    /// Each wants the next of so many products
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    products: Option<u32>,
    /// All want a piece of a new product of which there are so many: just those must be sold
    #[arg(long, value_name = "STOCK")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    flash: Option<u64>,
}

impl GoodsOption {
    fn goods(&self) -> Goods {
        let one = self.product.map(Goods::One).or(self.products.map(Goods::Spread));
        one.or(self.flash.map(Goods::flash)).unwrap_or_default()
    }
}

impl LoadCommand {
    pub async fn run(self) -> Result<ExitCode> {
        let api = self.target.api()?;
        // One line about a service that is down is enough.
        api.list(&Filter { limit: Some(1), ..Filter::default() }).await?;
        let settings = Settings::of_running()?;
        let load = self.load(&settings)?;
        let endpoints = present(&settings).await;
        load.goods.shelve(&endpoints.databases["inventory"]).await?;
        let mut live = LiveLine::new(!self.target.json);
        let mut shown = Instant::now();
        let mut report = load::run(std::slice::from_ref(&api), &load, |so_far, took| {
            if shown.elapsed() > SHOWN_EVERY {
                shown = Instant::now();
                live.show(&progress(&load, so_far, took));
            }
        })
        .await;
        live.clear();
        report.look_at_hops(&api).await;
        let is_shown = !self.target.json;
        if is_shown {
            show::print(&report, &load);
        }
        if let Some(file) = &self.report {
            std::fs::write(file, serde_json::to_string_pretty(&report)?)
                .with_context(|| format!("cannot write the report {}", file.display()))?;
        }
        let verdict =
            if self.no_verify { None } else { Some(self.verify(&settings, &report).await) };
        if self.target.json {
            let verify = verdict.as_ref().and_then(|verdict| verdict.as_ref().ok());
            output::json(&json!({ "load": report, "verify": verify }));
        }
        let own = if report.is_as_asked() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        let verified = verdict.map(|verdict| verdict::report(&verdict, is_shown));
        Ok(verified.filter(|code| *code != ExitCode::SUCCESS).unwrap_or(own))
    }

    fn load(&self, settings: &Settings) -> Result<Load> {
        let is_bounded = self.length.is_some();
        let in_flight = if self.rate.is_some() { IN_FLIGHT_MAX } else { IN_FLIGHT };
        Ok(Load {
            orders: self.orders.unwrap_or(if is_bounded { usize::MAX } else { ORDERS }),
            length: self.length,
            warm_up: self.warm_up,
            in_flight: self.in_flight.unwrap_or(in_flight),
            rate: self.rate,
            mix: self.mix.clone().unwrap_or_default(),
            goods: self.goods.goods(),
            patience: Duration::from_secs(self.patience),
            meter: Meter::on(settings)?,
            ..Load::default()
        })
    }

    /// In a cluster a database may lose its primary at any time: then it begins anew, on the next.
    async fn verify(&self, settings: &Settings, report: &Report) -> Result<Verdict> {
        let until = Instant::now() + VERIFY_MAX;
        loop {
            let endpoints = present(settings).await;
            let verdict =
                verdict::judge(&endpoints, VERIFY_MAX, &report.told, !self.target.json).await;
            if verdict.is_ok() || !settings.is_cluster || Instant::now() > until {
                return verdict;
            }
            sleep(AGAIN_AFTER).await;
        }
    }
}

fn progress(load: &Load, so_far: Progress, took: Duration) -> String {
    let orders = match load.orders {
        usize::MAX => String::new(),
        orders => format!(" of {}", count(orders)),
    };
    format!(
        "{:>4} s  {:>6.0}/s  p50 {:.0} ms  p99 {:.0} ms  {}{orders} final, {} failed requests",
        took.as_secs(),
        so_far.now.per_s,
        so_far.now.p50_ms,
        so_far.now.p99_ms,
        count(so_far.finished),
        count(so_far.errors),
    )
}
