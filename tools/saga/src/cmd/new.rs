//! `saga new`: writes a service beside the saga into the source tree.

use std::env;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use clap::Args;
use events::ADD_ONS;
use kit::say;

use crate::new::{Request, plan, tree};

/// Write a service of your own into this source tree
///
/// It hears events of the saga and may answer each with an event of its own; no order waits for it.
/// It has a crate in services/ with a reaction per event, a store, a migration and a test, and
/// `make up`, Compose and Kubernetes start it with a database and a RabbitMQ user of its own.
#[derive(Args)]
#[command(after_help = "Examples:
  saga new loyalty --hears payment.approved --says loyalty.points-given
  saga new mail --hears shipping.scheduled,shipping.failed")]
pub struct New {
    /// One word of letters from a to z
    name: String,
    /// The events that it reacts to
    #[arg(long, required = true, value_delimiter = ',', value_name = "EVENTS")]
    hears: Vec<String>,
    /// The events that it answers with, in the same order
    #[arg(long, value_delimiter = ',', value_name = "EVENTS")]
    says: Vec<String>,
}

impl New {
    pub fn run(self) -> Result<ExitCode> {
        let name = self.name.as_str();
        let request = Request::new(name, &self.hears, &self.says)?;
        let root = tree(&env::current_dir()?)?;
        let plan = plan(&root, &request, ADD_ONS)?;
        let written = plan.write(&["Cargo.lock"])?;
        cargo(&root, &["update", "--workspace", "--offline", "--quiet"])
            .context("Cargo.lock cannot be brought up to date, so nothing was written")?;
        written.keep();
        // Names of other lengths break lines elsewhere.
        cargo(&root, &["fmt", "-p", name, "-p", "quadrille-events"]).ok();
        for path in plan.paths() {
            say!("  {path}");
        }
        say!(
            "\n{name} is there; what it does is in services/{name}/src/on/\n  \
             `cargo build -p lab`, and target/debug/lab with-servers -- cargo test -p {name}\n  \
             make stop; make up   builds it and starts it with the others\n  \
             saga replay --to {name}.{} --since oldest   what was said before it was there\n  \
             UPDATE_DOCS=1 cargo test -p tidy   adds it to docs/events",
            self.hears[0].replace('.', "-")
        );
        Ok(ExitCode::SUCCESS)
    }
}

fn cargo(root: &Path, arguments: &[&str]) -> Result<()> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo).current_dir(root).args(arguments).output();
    let output = output.context("cannot run cargo")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "cargo {}: {}", arguments.join(" "), said.trim());
    Ok(())
}
