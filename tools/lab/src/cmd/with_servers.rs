//! `lab with-servers`: starts a Postgres and a RabbitMQ for as long as one command runs, for tests.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use kit::stop::Stop;
use nix::sys::signal::Signal;
use servers::{Process, Watchdog, install, release, scratch};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Run a command with a Postgres and a RabbitMQ of its own
///
/// They run on free ports, in a temporary directory below `target/`. The command finds them by
/// TEST_POSTGRES_URL (the superuser), TEST_AMQP_URL (without a virtual host) and
/// TEST_RABBITMQ_MANAGEMENT_URL. When it ends, they are stopped and deleted.
#[derive(Args)]
#[command(after_help = "Example:
  lab with-servers -- cargo test --workspace")]
pub struct WithServers {
    /// Take RabbitMQ from another Debian release, by its code name (downloads it once); the command
    /// finds it by TEST_RABBITMQ_ROOT
    #[arg(long, value_name = "RELEASE")]
    rabbitmq: Option<String>,
    /// Let Postgres sync and vacuum as usual, to measure
    #[arg(long)]
    as_usual: bool,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

impl WithServers {
    pub async fn run(self) -> Result<ExitCode> {
        install::ensure().await?;
        let mut stop = Stop::listen()?;
        // It deletes everything even when this process is killed; declared first and so dropped
        // last, it deletes the directory once the servers are gone.
        let watchdog = Arc::new(Watchdog::start()?);
        let dir = PathBuf::from(format!("target/with-servers/{}", std::process::id()));
        watchdog.deletes(&dir)?;

        let starting = async {
            let root = match self.rabbitmq.as_deref() {
                Some(name) => Some(release::rabbitmq(Path::new(release::FOLDER), name).await?),
                None => None,
            };
            let postgres = scratch::postgres(&dir, &watchdog, None);
            let rabbit = scratch::rabbitmq(&dir, &watchdog, root.clone(), None);
            let (postgres, rabbit) = tokio::try_join!(postgres, rabbit)?;
            if !self.as_usual {
                scratch::make_cheaper(&postgres).await?;
            }
            anyhow::Ok((postgres, rabbit, root))
        };
        let (postgres, rabbit, root) = tokio::select! {
            started = starting => started?,
            code = stop.asked() => return Ok(ExitCode::from(code)),
        };
        let mut child = Command::new(&self.command[0])
            .args(&self.command[1..])
            .env("TEST_POSTGRES_URL", postgres.superuser_url())
            .env("TEST_AMQP_URL", rabbit.url())
            .env("TEST_RABBITMQ_MANAGEMENT_URL", scratch::management_url(&rabbit))
            .envs(root.map(|root| ("TEST_RABBITMQ_ROOT", root)))
            .spawn()
            .with_context(|| format!("cannot start {}", self.command[0]))?;
        if let Some(process) = child.id().and_then(Process::of) {
            watchdog.ends(process, Signal::SIGTERM)?;
        }
        tokio::select! {
            status = child.wait() => Ok(exit_code(status?)),
            code = stop.asked() => end(child, code).await,
        }
        // The data is deleted: the servers are just dropped, without a clean shutdown.
    }
}

/// A terminal sends Ctrl-C to the command and all its children; a signal to this process alone must
/// reach them too.
async fn end(mut child: Child, code: u8) -> Result<ExitCode> {
    if let Some(process) = child.id().and_then(Process::of) {
        for process in process.descendants().into_iter().chain([process]) {
            process.signal(Signal::SIGTERM);
        }
    }
    if timeout(Duration::from_secs(10), child.wait()).await.is_err() {
        child.kill().await?;
    }
    Ok(ExitCode::from(code))
}

fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| Some(128 + status.signal()?));
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}
