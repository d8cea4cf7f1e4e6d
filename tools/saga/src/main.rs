//! `saga`: runs the order saga on this machine, and looks into it.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use saga_cli::cmd::with_servers;

#[derive(Parser)]
#[command(
    name = "saga",
    version,
    about = "Runs the order saga on this machine, and looks into it"
)]
struct Saga {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    WithServers(with_servers::WithServers),
}

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Saga::parse().command {
        Command::WithServers(command) => command.run().await,
    };
    done.unwrap_or_else(|error| {
        eprintln!("saga: {error:#}");
        ExitCode::FAILURE
    })
}
