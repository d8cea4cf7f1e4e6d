//! `saga topology`: what the saga asks of RabbitMQ.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use messaging::{Ladder, Topology};

/// Print exchanges, queues and bindings as RabbitMQ imports them
///
/// They are what `SAGA` means to a broker, with the usual retry rungs.
/// `deploy/rabbitmq/topology.json` is this output.
#[derive(Args)]
pub struct TopologyCommand {}

impl TopologyCommand {
    pub fn run(&self) -> Result<ExitCode> {
        let definitions = Topology::whole(&Ladder::default()).definitions();
        #[expect(clippy::print_stdout, reason = "it is what was asked for")]
        {
            println!("{}", serde_json::to_string_pretty(&definitions)?);
        }
        Ok(ExitCode::SUCCESS)
    }
}
