//! `saga topology`: prints the saga's RabbitMQ topology, or compares it with the broker.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use kit::colour::Colour;
use kit::definitions::{logins, topology};
use kit::endpoints::endpoints;
use kit::output::{self, Table, some};
use kit::settings::{Settings, VHOST};

use crate::topology::{Report, What, check};

/// Print the topology of the saga, or compare it with the running broker
///
/// All comes from `SAGA`, with the retry tiers of `RETRY_DELAYS` and queues of
/// `QUEUE_TYPE`. What this prints stands in `deploy/rabbitmq/topology.json`, and in `users.json`
/// beside it what it prints with `--users`.
///
/// `--check` exits with 1 when something is missing, differs, or hides unroutable events.
#[derive(Args)]
#[command(after_help = "Examples:
  saga topology --check                  hold the running broker against SAGA
  saga topology --mermaid                the drawing in the README
  saga topology --definitions >all.json  to be imported on RabbitMQ's page")]
pub struct TopologyCommand {
    #[command(flatten)]
    what: Wanted,
    /// Endpoints file (JSON), instead of the settings
    #[arg(long, value_name = "FILE", requires = "check")]
    places: Option<PathBuf>,
    /// Print JSON
    #[arg(long, conflicts_with = "mermaid")]
    json: bool,
}

#[derive(Args)]
#[group(multiple = false)]
struct Wanted {
    /// Print exchanges, queues, bindings and policies as RabbitMQ imports them; the default
    #[arg(long)]
    definitions: bool,
    /// Print the services' users with their permissions; change the passwords, which are the names
    #[arg(long)]
    users: bool,
    /// Print the choreography as a Mermaid flowchart
    #[arg(long)]
    mermaid: bool,
    /// List the differences of the running broker
    #[arg(long)]
    check: bool,
}

impl TopologyCommand {
    pub async fn run(self) -> Result<ExitCode> {
        let settings = Settings::read()?;
        let Wanted { users, mermaid, check: is_checked, .. } = self.what;
        if is_checked {
            let report = check(&endpoints(self.places.as_deref()).await?, &settings).await?;
            if self.json {
                output::json(&report);
            } else {
                print(&report);
            }
            return Ok(if report.as_asked { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        match (mermaid, users) {
            (true, _) => output::line(events::diagram().trim_end()),
            (false, true) => output::json(&logins(&settings, VHOST)),
            (false, false) => output::json(&topology(&settings, VHOST)),
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn print(report: &Report) {
    if !report.differences.is_empty() {
        let mut table = Table::new(&["", "kind", "name", "detail"]);
        for one in &report.differences {
            let colour = if one.what == What::More { Colour::Cyan } else { Colour::Red };
            table.row(vec![
                (Some(colour), one.what.word().into()),
                (None, one.kind.into()),
                (None, output::tame(&one.name)),
                (None, output::tame(&one.detail)),
            ]);
        }
        table.print();
    }
    let wrong = report.differences.iter().filter(|one| one.what != What::More).count();
    let checked: Vec<_> =
        report.checked.iter().map(|(list, size)| format!("{size} {list}")).collect();
    let checked = checked.join(", ").replace('_', " ");
    output::line(match wrong {
        0 => output::coloured(Some(Colour::Green), format_args!("as SAGA asks: {checked}")),
        wrong => format!(
            "{} from what SAGA asks ({checked})\n\
             what is missing comes by importing `saga topology` and `saga topology --users` on \
             RabbitMQ's page, or by `saga stop` and `saga up`;\n\
             what differs or hides must be deleted first",
            some(wrong, "difference"),
        ),
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn the_files_that_compose_gives_to_rabbitmq_are_the_topology_and_the_users_as_they_are() {
        let settings = Settings::from(|_| None).unwrap();
        let files = [
            (
                include_str!("../../../../deploy/rabbitmq/topology.json"),
                topology(&settings, VHOST),
                "",
            ),
            (
                include_str!("../../../../deploy/rabbitmq/users.json"),
                logins(&settings, VHOST),
                " --users",
            ),
        ];
        for (file, expected, option) in files {
            let file: Value = serde_json::from_str(file).unwrap();
            assert!(
                file == expected,
                "run `cargo run -p saga-cli --bin saga -- topology{option}` into its file in \
                 deploy/rabbitmq"
            );
        }
    }
}
