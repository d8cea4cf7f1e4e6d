//! `saga topology`: what the saga asks of RabbitMQ.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use messaging::Topology;
use serde_json::Value;

use crate::draw;
use crate::settings::{SERVICES, Settings};

const VHOST: &str = "/";

/// Print exchanges, queues, bindings and policies as RabbitMQ imports them
///
/// They are what `SAGA` means to a broker, with the retry rungs of `RETRY_DELAYS`, and queues of
/// `QUEUE_TYPE`. `deploy/rabbitmq/topology.json` is this output, and `users.json` beside it that of
/// `--users`.
#[derive(Args)]
pub struct TopologyCommand {
    /// Print the services' users instead, and what each may do; change the passwords, which are the
    /// names
    #[arg(long)]
    users: bool,
}

impl TopologyCommand {
    pub fn run(&self) -> Result<ExitCode> {
        let settings = Settings::read()?;
        draw::json(&if self.users { logins() } else { topology(&settings) });
        Ok(ExitCode::SUCCESS)
    }
}

pub fn topology(settings: &Settings) -> Value {
    Topology::whole(&settings.ladder).with(settings.queue_type).definitions(VHOST)
}

pub fn logins() -> Value {
    messaging::users(&SERVICES, VHOST, str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_that_compose_gives_to_rabbitmq_are_the_topology_and_the_users_as_they_are() {
        let files = [
            (
                include_str!("../../../../deploy/rabbitmq/topology.json"),
                topology(&Settings::from(|_| None).unwrap()),
                "",
            ),
            (include_str!("../../../../deploy/rabbitmq/users.json"), logins(), " --users"),
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
