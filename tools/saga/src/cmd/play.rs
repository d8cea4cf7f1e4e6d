//! `saga play`: runs the whole system in this process, in memory.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, ensure};
use clap::Args;
use kit::{output, say};
use play::{System, Verdict, verify};
use servers::ports;

use crate::welcome;

/// Run the four services in this process, with the page, in memory: nothing to install
///
/// The services' own code over a broker and databases in memory instead of RabbitMQ and Postgres.
/// Everything is forgotten when it ends. For real servers: `saga up`.
#[derive(Args)]
#[command(after_help = "Examples:
  saga play
  saga play --port 3005
  curl http://127.0.0.1:3001/verify     every invariant, while it runs")]
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
        let port = self.port;
        ensure!(ports::is_free(port), "port {port} is taken: choose another with --port");
        telemetry::logs(&self.log, telemetry::LogFormat::Text)?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let system = System::start(address, self.traffic).await?;
        if !self.json {
            welcome::play(address, began.elapsed());
        }
        tokio::signal::ctrl_c().await?;
        let verdict = verify(&system).await;
        system.stop().await;
        if self.json {
            output::json(&verdict);
        } else {
            report(&verdict);
        }
        Ok(if verdict.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn report(Verdict { orders, is_idle, violations }: &Verdict) {
    let scope = if *is_idle { "" } else { " of a system at work" };
    match violations.len() {
        0 => say!("\n{orders} orders; every invariant{scope} holds. All is forgotten now."),
        broken => say!("\n{orders} orders; {broken} violations of the invariants{scope}:"),
    }
    for violation in violations {
        say!("- {violation}");
    }
}
