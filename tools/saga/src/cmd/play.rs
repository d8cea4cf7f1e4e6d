//! `saga play`: runs the whole system in this process, in memory.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Args;
use kit::stop::Stop;
use kit::verdict::CANNOT_CHECK;
use kit::{output, say};
use play::{System, Verdict, verify};
use servers::ports;

use crate::welcome;

const ANSWER_WITHIN: Duration = Duration::from_secs(10);

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
    /// Where HTTP listens, on 127.0.0.1
    #[arg(long, env = "ORDER_HTTP_PORT", default_value_t = 3001)]
    port: u16,
    /// Orders a second of all kinds while a page is open; 0: none
    #[arg(long, env = "DEMO_TRAFFIC", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u8).range(0..=20))]
    traffic: u8,
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
        let port = self.port;
        ensure!(ports::is_free(port), "port {port} is taken: choose another with --port");
        telemetry::logs(&self.log, telemetry::LogFormat::Text)?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let system = System::start(address, self.traffic).await?;
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

/// Checks the system that another process plays, if there is one: waits so long for it to be idle,
/// and returns the exit code of `saga verify`.
pub async fn check(port: u16, wait: Duration, json: bool) -> Option<ExitCode> {
    let http = https::plain().no_proxy().timeout(ANSWER_WITHIN).build().ok()?;
    let began = Instant::now();
    let verdict = loop {
        let asked = http.get(format!("http://127.0.0.1:{port}/verify")).send().await.ok()?;
        let verdict: Verdict = asked.json().await.ok()?;
        // It waits a moment itself.
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
