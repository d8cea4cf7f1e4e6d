//! A mock payment provider for development and tests: charges a key once, and fails on demand.

mod behaviour;
mod books;
mod guard;
mod http;
mod ledger;

use anyhow::{Context, Result, ensure};
use behaviour::Behaviour;
use clap::{Parser, Subcommand};
use http::Provider;
use ledger::Ledger;
use mock_gateway::tls::Tls;
use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

/// A mock payment provider: charges, declines and fails by payment method
///
/// It charges a key once, and answers it the same for ever. `PUT /behaviour` makes it slow, lets it
/// fail, takes it down and up again, or makes it lie (`{"lies": ["proxy_503", "pending"], "share":
/// 0.3}`) while it runs; `GET /charges` shows its books.
#[derive(Parser)]
#[command(name = "mock-gateway", version)]
struct MockGateway {
    #[command(subcommand)]
    command: Option<Command>,
    /// Where it listens
    #[arg(long, env = "MOCK_GATEWAY_ADDR", default_value = "127.0.0.1:3002", global = true)]
    #[arg(value_name = "MOCK_GATEWAY_ADDR")]
    listen: SocketAddr,
    /// Ledger file, which survives a restart
    #[arg(long, env = "MOCK_GATEWAY_LEDGER", value_name = "MOCK_GATEWAY_LEDGER")]
    ledger: Option<PathBuf>,
    #[command(flatten)]
    tls: Tls,
    #[command(flatten)]
    behaviour: Behaviour,
}

#[derive(Clone, Copy, Subcommand)]
enum Command {
    /// Serves until SIGTERM (the default command)
    Run,
    /// Exits with 0 when a server is listening
    Healthcheck,
}

fn main() -> ExitCode {
    let told = MockGateway::parse();
    let done = match told.command.unwrap_or(Command::Run) {
        Command::Run => run(&told),
        Command::Healthcheck => healthcheck(told.listen),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("mock-gateway: {why:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(told: &MockGateway) -> Result<()> {
    told.behaviour.check()?;
    let (ledger, books) = Ledger::open(told.ledger.as_deref())?;
    let listener = TcpListener::bind(told.listen).await.with_context(|| {
        format!("cannot listen on {}: free it, or set MOCK_GATEWAY_ADDR", told.listen)
    })?;
    let url = format!("http://{}", listener.local_addr()?);
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    eprintln!("mock-gateway: a payment provider on {url}; to take it down, say");
    eprintln!("  curl -X PUT {url}/behaviour -d '{{\"down\": true}}'");
    let routes = http::routes(Provider::new(books, ledger, told.behaviour.clone()));
    let encrypted = async {
        match told.tls.listen().await? {
            Some(listener) => Ok(axum::serve(listener, routes.clone()).await?),
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        served = axum::serve(listener, routes.clone()) => served.context("cannot serve"),
        ended = encrypted => ended,
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    }
}

/// Whether a server answers there: a container has no other means to check.
fn healthcheck(listen: SocketAddr) -> Result<()> {
    const PATIENCE: Duration = Duration::from_secs(2);
    let address = match listen.ip().is_unspecified() {
        true => SocketAddr::from((Ipv4Addr::LOCALHOST, listen.port())),
        false => listen,
    };
    let mut connection = TcpStream::connect_timeout(&address, PATIENCE)
        .with_context(|| format!("no server listens on {address}"))?;
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.write_all(b"GET /readyz HTTP/1.0\r\n\r\n")?;
    let mut answer = [0; 12];
    connection.read_exact(&mut answer).context("it does not answer")?;
    ensure!(answer.ends_with(b" 200"), "it answers {}", String::from_utf8_lossy(&answer));
    Ok(())
}
