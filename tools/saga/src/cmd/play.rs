//! `saga play`: runs the whole system in this process, in memory.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use kit::settings::Settings;
use kit::stop::Stop;
use kit::verdict::CANNOT_CHECK;
use kit::{output, say};
use play::{System, Verdict, verify};
use servers::ports;
use telemetry::Export;

use crate::welcome;

const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// More than it waits for its system to be idle, and not long for a command that only hints at it.
const SEEN_WITHIN: Duration = Duration::from_secs(3);
const TRAFFIC_MAX: u8 = 20;

/// Run the four services in this process, with the page, in memory: nothing to install
///
/// The services' own code over a broker and databases in memory instead of RabbitMQ and Postgres.
/// Everything is forgotten when it ends. For real servers: `saga up`.
#[derive(Args)]
#[command(after_help = "Examples:
  saga play
  saga play --port 3005
  saga verify     every invariant, while it plays")]
pub struct Play {
    /// Where HTTP listens, on 127.0.0.1 [default: $ORDER_HTTP_PORT, else 3001]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// Orders a second of all kinds while a page is open, up to 20; 0: none [default:
    /// $DEMO_TRAFFIC, else 1]
    #[arg(long, value_parser = clap::value_parser!(u8).range(..=i64::from(TRAFFIC_MAX)))]
    traffic: Option<u8>,
    /// Log filter: a level, or `crate=level` pairs
    #[arg(long, env = "LOG", default_value = "warn")]
    log: String,
    /// Print JSON: the check of the invariants at the end
    #[arg(long)]
    json: bool,
}

impl Play {
    pub async fn run(self) -> Result<ExitCode> {
        let began = Instant::now();
        let mut stop = Stop::listen()?;
        let settings = Settings::read()?;
        let port = self.port.unwrap_or(settings.order_http_port);
        let traffic = match self.traffic {
            Some(traffic) => traffic,
            None => traffic(settings.variable("DEMO_TRAFFIC"))?,
        };
        ensure!(ports::is_free(port), ports::complaint(port, "ORDER_HTTP_PORT"));
        telemetry::logs(&self.log, telemetry::LogFormat::Text)?;
        telemetry::start(Export {
            service: "saga play",
            instance: port.to_string(),
            endpoint: "",
            certificate: None,
            headers: None,
            page: true,
        })?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let system = System::start(address, traffic, settings.dotenv).await?;
        if self.json {
            eprintln!("saga: plays at http://{address}");
        } else {
            welcome::play(address, began.elapsed());
        }
        stop.asked().await;
        let verdict = verify(&system).await;
        system.stop().await;
        if self.json {
            output::json(&verdict);
        } else {
            report(&verdict);
            say!("All is forgotten now.");
        }
        Ok(if verdict.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// Orders a second, as the variable has them.
fn traffic(value: Option<String>) -> Result<u8> {
    let Some(value) = value else { return Ok(1) };
    let traffic = value.parse().ok().filter(|traffic| *traffic <= TRAFFIC_MAX);
    traffic.with_context(|| format!("DEMO_TRAFFIC={value} is not a number from 0 to {TRAFFIC_MAX}"))
}

/// Whether `saga play` serves here.
pub async fn is_at(port: u16) -> bool {
    asked(port, SEEN_WITHIN).await.is_some()
}

/// It waits a moment for its system to be idle.
async fn asked(port: u16, within: Duration) -> Option<Verdict> {
    let http = https::plain().no_proxy().timeout(within).build().ok()?;
    let answer = http.get(format!("http://127.0.0.1:{port}/verify")).send().await.ok()?;
    answer.json().await.ok()
}

/// Checks the system that another process plays, if there is one: waits so long for it to be idle,
/// and returns the exit code of `saga verify`.
pub async fn check(port: u16, wait: Duration, json: bool) -> Option<ExitCode> {
    let began = Instant::now();
    let verdict = loop {
        let verdict = asked(port, ANSWER_WITHIN).await?;
        if verdict.is_idle || began.elapsed() >= wait {
            break verdict;
        }
    };
    if json {
        output::json(&verdict);
    } else {
        report(&verdict);
    }
    Some(match verdict {
        Verdict { violations, .. } if !violations.is_empty() => ExitCode::FAILURE,
        Verdict { is_idle: true, .. } => ExitCode::SUCCESS,
        _ => ExitCode::from(CANNOT_CHECK),
    })
}

fn report(Verdict { orders, is_idle, violations }: &Verdict) {
    let scope = if *is_idle { "" } else { " of a system at work" };
    match violations.len() {
        0 => say!("\n{orders} orders; every invariant{scope} holds."),
        broken => say!("\n{orders} orders; {broken} violations of the invariants{scope}:"),
    }
    for violation in violations {
        say!("- {violation}");
    }
}
