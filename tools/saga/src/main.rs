//! `saga`: runs the order saga on this machine, and looks into it.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use saga_cli::cmd::{
    bench, chaos, demo, dlq, docker, down, fill, load, logs, order, status, topology, up, verify,
    why, with_servers,
};

#[derive(Parser)]
#[command(name = "saga", version, about = "Runs the order saga on this machine, and looks into it")]
struct Saga {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Up(up::Up),
    Stop(down::Stop),
    Down(down::Down),
    Status(status::Status),
    Logs(logs::Logs),
    Order(order::OrderCommand),
    Demo(demo::Demo),
    Dlq(dlq::DlqCommand),
    Why(why::WhyCommand),
    Verify(verify::Verify),
    Load(load::LoadCommand),
    Bench(bench::BenchCommand),
    Chaos(Box<chaos::ChaosCommand>),
    Docker(docker::DockerCommand),
    #[command(hide = true)]
    Fill(fill::Fill),
    Topology(topology::TopologyCommand),
    WithServers(with_servers::WithServers),
}

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Saga::parse().command {
        Command::Up(command) => command.run().await,
        Command::Stop(command) => command.run().await,
        Command::Down(command) => command.run().await,
        Command::Status(command) => command.run().await,
        Command::Logs(command) => command.run().await,
        Command::Order(command) => command.run().await,
        Command::Demo(command) => command.run().await,
        Command::Dlq(command) => command.run().await,
        Command::Why(command) => command.run().await,
        Command::Verify(command) => command.run().await,
        Command::Load(command) => command.run().await,
        Command::Bench(command) => command.run().await,
        Command::Chaos(command) => command.run().await,
        Command::Docker(command) => command.run().await,
        Command::Fill(command) => command.run().await,
        Command::Topology(command) => command.run(),
        Command::WithServers(command) => command.run().await,
    };
    done.unwrap_or_else(|error| {
        eprintln!("saga: {error:#}");
        ExitCode::FAILURE
    })
}
