//! The command line: every subcommand.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::cmd::{alarms, bench, chaos, fill, load, peers, with_servers};

/// Loads, measures and breaks the order saga
#[derive(Parser)]
#[command(name = "lab", version)]
struct Lab {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Load(load::LoadCommand),
    Bench(bench::BenchCommand),
    Peers(peers::PeersCommand),
    Chaos(Box<chaos::ChaosCommand>),
    Alarms(alarms::AlarmsCommand),
    Fill(fill::Fill),
    WithServers(with_servers::WithServers),
}

/// Parses and runs the command line.
pub async fn run() -> Result<ExitCode> {
    match Lab::parse().command {
        Command::Load(command) => command.run().await,
        Command::Bench(command) => command.run().await,
        Command::Peers(command) => command.run().await,
        Command::Chaos(command) => command.run().await,
        Command::Alarms(command) => command.run().await,
        Command::Fill(command) => command.run().await,
        Command::WithServers(command) => command.run().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    const WITHOUT_JSON: [&str; 2] = ["fill", "with-servers"];

    #[test]
    fn the_command_line_is_sound_and_shows_how_it_is_used() {
        Lab::command().debug_assert();
        for one in Lab::command().get_subcommands_mut() {
            let help = one.render_long_help().to_string();
            assert!(help.contains("Example"), "lab {}: give it an example", one.get_name());
            let json = one.get_arguments().find(|argument| argument.get_id() == "json");
            assert_eq!(
                json.is_none(),
                WITHOUT_JSON.contains(&one.get_name()),
                "{}",
                one.get_name()
            );
        }
    }
}
