//! `saga new`: writes a service beside the saga into the source tree.

use std::env;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Args;
use events::ADD_ONS;
use kit::say;
use kit::stop::Stop;
use tokio::process::Command;

use crate::new::{Request, plan, tree};

/// `git clean` of docs/add-a-service.md.
const CLEANED: [&str; 3] = ["services/", "shared/", "deploy/"];

/// Write a service of your own into this source tree
///
/// It hears events of the saga and may answer each with an event of its own; no order waits for it.
/// It has a crate in services/ with a reaction per event, a store, a migration and a test, and
/// `make up`, Compose and Kubernetes start it with a database and a RabbitMQ user of its own.
#[derive(Args)]
#[command(after_help = "Examples:
  saga new stamps --hears payment.approved --says stamps.collected
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
    /// Write it where changes are uncommitted, too; taking it back by git takes them along
    #[arg(long)]
    allow_dirty: bool,
}

impl New {
    pub async fn run(self) -> Result<ExitCode> {
        let name = self.name.as_str();
        let request = Request::new(name, &self.hears, &self.says)?;
        let root = tree(&env::current_dir()?)?;
        let plan = plan(&root, &request, ADD_ONS)?;
        if !self.allow_dirty {
            check_committed(&root).await?;
        }
        // All of it is taken back where a signal ends it.
        let mut stop = Stop::listen()?;
        let written = plan.write(&["Cargo.lock"])?;
        tokio::select! {
            updated = cargo(&root, &["update", "--workspace", "--offline", "--quiet"]) => updated
                .context("Cargo.lock cannot be brought up to date, so nothing was written")?,
            code = stop.asked() => return Ok(ExitCode::from(code)),
        }
        written.keep();
        // Names of other lengths break lines elsewhere.
        cargo(&root, &["fmt", "-p", name, "-p", "quadrille-events"]).await.ok();
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

/// Git takes back the service, and with it every other change. A tree without git has none.
async fn check_committed(root: &Path) -> Result<()> {
    let mut git = Command::new("git");
    git.args(["status", "--porcelain", "--untracked-files=all", "--", "."]).current_dir(root);
    let Ok(output) = git.output().await else { return Ok(()) };
    let told = String::from_utf8_lossy(&output.stdout);
    // Of what git does not know, only these folders are cleaned.
    let is_at_risk = |line: &&str| match line.strip_prefix("?? ") {
        Some(path) => CLEANED.iter().any(|folder| path.starts_with(folder)),
        None => true,
    };
    let first = told.lines().find(is_at_risk);
    ensure!(
        first.is_none(),
        "there are uncommitted changes ({}), which `git checkout .` would take back with the \
         service: commit them first, or add --allow-dirty",
        first.unwrap_or_default().trim()
    );
    Ok(())
}

async fn cargo(root: &Path, arguments: &[&str]) -> Result<()> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    let output = command.current_dir(root).args(arguments).kill_on_drop(true).output().await;
    let output = output.context("cannot run cargo")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "cargo {}: {}", arguments.join(" "), said.trim());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_git_would_take_back_with_the_service_is_committed_first() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let git = async |arguments: &[&str]| {
            let mut git = Command::new("git");
            let status = git.current_dir(root).args(arguments).status().await.unwrap();
            assert!(status.success(), "git {arguments:?}");
        };
        check_committed(root).await.expect("a tree without git");
        git(&["init", "--quiet"]).await;
        std::fs::write(root.join("notes.txt"), "mine").unwrap();
        check_committed(root).await.expect("neither command touches it");
        std::fs::create_dir(root.join("services")).unwrap();
        std::fs::write(root.join("services/draft.rs"), "mine").unwrap();
        let refused = check_committed(root).await.unwrap_err().to_string();
        assert!(refused.contains("(?? services/draft.rs)"), "{refused}");
        std::fs::remove_dir_all(root.join("services")).unwrap();
        git(&["add", "notes.txt"]).await;
        let refused = check_committed(root).await.unwrap_err().to_string();
        assert!(refused.contains("(A  notes.txt)"), "{refused}");
    }
}
