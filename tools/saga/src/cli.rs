//! Defines the command line: every subcommand, and a help that groups them by purpose.

use std::fmt::Write;
use std::os::unix::process::CommandExt;
use std::process::{self, ExitCode};

use anyhow::{Context, Result};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use kit::home::Home;
use kit::settings::Settings;
use kit::verdict::report;

use crate::cmd::{
    audit, completions, containers, demo, dlq, doctor, down, failover, keys, logs, mcp, new, order,
    play, replay, standby, status, tail, topology, up, urls, verify, why,
};
use crate::compose::forward;

#[derive(Parser)]
#[command(name = "saga", version, about = "Runs the order saga on this machine, and looks into it")]
struct Saga {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Up(up::Up),
    Play(play::Play),
    Stop(down::Stop),
    Down(down::Down),
    Status(status::Status),
    Urls(urls::UrlsCommand),
    Logs(logs::Logs),
    Doctor(doctor::Doctor),
    Failover(failover::Failover),
    Standby(standby::Standby),
    Order(order::OrderCommand),
    Demo(demo::Demo),
    Tail(tail::Tail),
    Why(why::WhyCommand),
    Dlq(dlq::DlqCommand),
    Replay(replay::ReplayCommand),
    Verify(verify::Verify),
    Keys(keys::KeysCommand),
    Audit(audit::Audit),
    Mcp(mcp::Mcp),
    Topology(topology::TopologyCommand),
    New(new::New),
    Completions(completions::Completions),
    Certify(containers::Certify),
    Welcome(containers::Welcome),
}

/// Commands in none of these groups come last.
const GROUPS: [(&str, &[&str]); 4] = [
    ("Run it", &["play", "up", "stop", "down", "status", "urls", "logs", "doctor"]),
    ("Of a cluster", &["failover", "standby"]),
    ("Use it and watch", &["order", "demo", "tail", "why", "dlq", "replay", "verify", "mcp"]),
    ("Who may, and who did", &["keys", "audit"]),
];
const LAST_GROUP: &str = "More";

const FOOT: &str = "Examples
  saga play                             all of it in this process, in memory
  saga up && saga demo                  start everything, and place an order of each kind
  saga tail --service payment           what payment says, as it says it
  saga doctor                           what is wrong on this machine, and how to mend it
`saga <COMMAND> --help` tells more. With --json they print JSON; with NO_COLOR there are no colours.
To load, measure and break it: `lab --help`.
";

/// Commands that have moved to `lab`.
const IN_LAB: [&str; 6] = ["load", "bench", "chaos", "alarms", "fill", "with-servers"];

/// Parses and runs the command line.
pub async fn run() -> Result<ExitCode> {
    if std::env::args().nth(1).is_some_and(|name| IN_LAB.contains(&name.as_str())) {
        return hand_over();
    }
    let matches = command_line().get_matches();
    let Saga { command } = Saga::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    if let Err(error) = forward::published_ports().await {
        // It has an exit code of its own for this.
        let is_verify = matches!(command, Command::Verify(_));
        return if is_verify { Ok(report(&Err(error), false)) } else { Err(error) };
    }
    let looks_into_servers = command.looks_into_servers();
    let done = dispatch(command).await;
    if looks_into_servers {
        tell_of_play().await;
    }
    done
}

impl Command {
    /// Which `saga play` does not have.
    const fn looks_into_servers(&self) -> bool {
        matches!(
            self,
            Self::Stop(_)
                | Self::Down(_)
                | Self::Status(_)
                | Self::Urls(_)
                | Self::Logs(_)
                | Self::Doctor(_)
                | Self::Why(_)
                | Self::Dlq(_)
                | Self::Replay(_)
                | Self::Keys(_)
                | Self::Audit(_)
                | Self::Topology(_)
        )
    }
}

/// Says which commands are of use, where `saga play` runs and nothing else.
async fn tell_of_play() {
    let Ok(settings) = Settings::read() else { return };
    let port = settings.order_http_port;
    if !Home::new(&settings).is_there() && play::is_at(port).await {
        eprintln!(
            "saga: on port {port} runs `saga play`, which has no servers: `saga demo`, `order`, \
             `tail` and `verify` look into it, Ctrl-C ends it"
        );
    }
}

async fn dispatch(command: Command) -> Result<ExitCode> {
    match command {
        Command::Up(command) => command.run().await,
        Command::Play(command) => command.run().await,
        Command::Stop(command) => command.run().await,
        Command::Down(command) => command.run().await,
        Command::Status(command) => command.run().await,
        Command::Urls(command) => command.run(),
        Command::Logs(command) => command.run().await,
        Command::Doctor(command) => command.run().await,
        Command::Failover(command) => command.run().await,
        Command::Standby(command) => command.run().await,
        Command::Order(command) => command.run().await,
        Command::Demo(command) => command.run().await,
        Command::Tail(command) => command.run().await,
        Command::Why(command) => command.run().await,
        Command::Dlq(command) => command.run().await,
        Command::Replay(command) => command.run().await,
        Command::Verify(command) => command.run().await,
        Command::Keys(command) => command.run().await,
        Command::Audit(command) => command.run().await,
        Command::Mcp(command) => command.run().await,
        Command::Topology(command) => command.run().await,
        Command::New(command) => command.run().await,
        Command::Certify(command) => command.run(),
        Command::Welcome(command) => command.run().await,
        Command::Completions(completions) => Ok(completions.run(command_line())),
    }
}

/// Replaces this process by `lab`, with the same arguments.
fn hand_over() -> Result<ExitCode> {
    let lab = std::env::current_exe()?.with_file_name("lab");
    let failed = process::Command::new(&lab).args(std::env::args_os().skip(1)).exec();
    let remedy = || format!("cannot run {}: build it by `make lab`", lab.display());
    Err(failed).with_context(remedy)
}

fn command_line() -> clap::Command {
    let command = Saga::command();
    let help = help(&command);
    command.override_help(help)
}

fn help(command: &clap::Command) -> String {
    let mut help = String::new();
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let mut say = |text: String| writeln!(help, "{text}").expect("a String takes all");
    say(format!("{about}\n\nUsage: saga <COMMAND> [OPTIONS]\n"));
    let is_grouped = |name: &str| GROUPS.iter().any(|(_, names)| names.contains(&name));
    let all = command.get_subcommands().filter(|one| !one.is_hide_set());
    let rest: Vec<_> = all.map(clap::Command::get_name).filter(|name| !is_grouped(name)).collect();
    for (title, names) in GROUPS.into_iter().chain([(LAST_GROUP, rest.as_slice())]) {
        say(title.to_owned());
        for one in names.iter().filter_map(|name| command.find_subcommand(name)) {
            let about = one.get_about().map(ToString::to_string).unwrap_or_default();
            say(format!("  {:<14}{about}", one.get_name()));
        }
    }
    say(FOOT.to_owned());
    help.trim_end().to_owned() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Output for other programs that is no JSON of ours: log lines, another command's output, a
    /// script, a protocol.
    const WITHOUT_JSON: [&str; 6] =
        ["saga stop", "saga down", "saga logs", "saga mcp", "saga new", "saga completions"];

    /// Every command that can be run, with its full name.
    fn commands() -> Vec<(String, clap::Command)> {
        let mut root = command_line();
        root.build();
        let mut found = Vec::new();
        let mut open = vec![("saga".to_owned(), root)];
        while let Some((name, one)) = open.pop() {
            let below: Vec<_> = one
                .get_subcommands()
                .filter(|one| !one.is_hide_set() && one.get_name() != "help")
                .collect();
            open.extend(
                below.iter().map(|one| (format!("{name} {}", one.get_name()), (*one).clone())),
            );
            if below.is_empty() {
                found.push((name, one));
            }
        }
        found
    }

    #[test]
    fn the_help_fits_a_screen_and_names_every_command_line() {
        let help = command_line().render_help().to_string();
        let lines: Vec<_> = help.lines().collect();
        assert!(lines.len() <= 40, "{} lines:\n{help}", lines.len());
        let wide = lines.iter().find(|line| line.chars().count() > 100);
        assert_eq!(wide, None);
        for one in command_line().get_subcommands().filter(|one| !one.is_hide_set()) {
            let start = format!("  {} ", one.get_name());
            assert_eq!(lines.iter().filter(|line| line.starts_with(&start)).count(), 1, "{start}");
        }
    }

    #[test]
    fn every_command_shows_how_it_is_used() {
        let mut command = command_line();
        for one in command.get_subcommands_mut().filter(|one| !one.is_hide_set()) {
            let help = one.render_long_help().to_string();
            assert!(help.contains("Example"), "saga {}: give it an example", one.get_name());
        }
    }

    #[test]
    fn every_command_that_tells_something_tells_it_to_programs_too() {
        for (name, one) in commands() {
            let json = one.get_arguments().find(|argument| argument.get_id() == "json");
            assert_eq!(json.is_none(), WITHOUT_JSON.contains(&name.as_str()), "{name}");
            let help = json.and_then(|json| json.get_help()).map(ToString::to_string);
            assert!(help.is_none_or(|help| help.starts_with("Print")), "{name}");
            let formats_of_their_own = ["saga dlq export", "saga topology"];
            let is_documented = tidy::documented_commands().contains(&name);
            assert!(
                is_documented || json.is_none() || formats_of_their_own.contains(&&*name),
                "{name}"
            );
        }
    }

    #[test]
    fn the_command_line_is_sound() {
        command_line().debug_assert();
    }

    #[test]
    fn each_shell_is_told_of_every_command() {
        for shell in ["bash", "zsh", "fish"] {
            let arguments = ["saga", "completions", shell];
            let matches = command_line().get_matches_from(arguments);
            let Ok(Saga { command: Command::Completions(completions) }) =
                Saga::from_arg_matches(&matches)
            else {
                panic!("it is another command");
            };
            let script = completions.script(command_line());
            for one in command_line().get_subcommands() {
                assert!(script.contains(one.get_name()), "{}", one.get_name());
            }
        }
    }
}
