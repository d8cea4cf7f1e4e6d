//! `saga topology`: what the saga asks of RabbitMQ.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use messaging::{Ladder, Topology};
use serde_json::Value;

use crate::draw;

/// Print exchanges, queues, bindings and policies as RabbitMQ imports them
///
/// They are what `SAGA` means to a broker, with the usual retry rungs.
/// `deploy/rabbitmq/topology.json` is this output.
#[derive(Args)]
pub struct TopologyCommand {}

impl TopologyCommand {
    pub fn run(&self) -> Result<ExitCode> {
        draw::json(&definitions());
        Ok(ExitCode::SUCCESS)
    }
}

fn definitions() -> Value {
    let mut all = Topology::whole(&Ladder::default()).definitions();
    all["policies"] = servers::policies();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_that_compose_gives_to_rabbitmq_is_the_topology_as_it_is() {
        let file = include_str!("../../../../deploy/rabbitmq/topology.json");
        let file: Value = serde_json::from_str(file).unwrap();
        assert!(
            file == definitions(),
            "run `cargo run -p saga-cli --bin saga -- topology >deploy/rabbitmq/topology.json`"
        );
    }
}
