//! `saga docker`: runs the saga in containers, by Docker Compose.

mod build;
mod up;

use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::{Args, Subcommand};
use events::add_ons;
use kit::say;
use kit::settings::{SERVICES, Settings};

use crate::compose::Compose;

/// Run the saga in containers, by Docker Compose
#[derive(Args)]
#[command(after_help = "Examples:
  saga docker up
  saga docker logs payment")]
pub struct DockerCommand {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Up(up::Up),
    Build(build::Build),
    Down(Down),
    Logs(Logs),
}

/// Remove the containers, their volumes and their network
///
/// The images stay, for the next start.
#[derive(Args)]
struct Down {}

/// Follow the logs, each line with its container before it
#[derive(Args)]
struct Logs {
    /// The containers to show; the four services by default
    containers: Vec<String>,
    /// Show what is there, and end
    #[arg(long)]
    no_follow: bool,
}

impl DockerCommand {
    pub async fn run(self) -> Result<ExitCode> {
        let mut settings = Settings::of_containers()?;
        // A cluster's volumes are removed, too, where its containers are gone.
        settings.is_cluster |= matches!(self.command, Command::Down(_));
        let compose = Compose::find(&settings).await?;
        match self.command {
            Command::Up(command) => command.run(&compose).await,
            Command::Build(command) => command.run(&compose).await,
            Command::Down(command) => command.run(&compose).await,
            Command::Logs(command) => command.run(&compose).await,
        }
    }
}

impl Down {
    async fn run(self, compose: &Compose) -> Result<ExitCode> {
        let everything = ["--profile", "*", "down", "--volumes", "--remove-orphans"];
        let removed = compose.show(&everything).await?;
        ensure!(removed.success(), "not everything could be removed");
        Settings { tls: None, ..Settings::read()? }.certify_containers()?;
        say!("nothing is left but the images, which the next start needs");
        Ok(ExitCode::SUCCESS)
    }
}

impl Logs {
    async fn run(self, compose: &Compose) -> Result<ExitCode> {
        let mut arguments = vec!["logs", "--tail", "20"];
        if !self.no_follow {
            arguments.push("--follow");
        }
        match self.containers.is_empty() {
            true => {
                arguments.extend(SERVICES);
                add_ons().for_each(|name| arguments.push(name));
            }
            false => arguments.extend(self.containers.iter().map(String::as_str)),
        }
        let shown = compose.show(&arguments).await?;
        // The user ends it with Ctrl-C.
        Ok(if shown.code() == Some(1) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}
