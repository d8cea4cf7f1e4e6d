//! Runs the `docker compose` command, and reads the state of its containers.

pub mod forward;
mod pair;
mod ports;

use std::collections::BTreeMap;
use std::process::{Output, Stdio};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, de::IgnoredAny};
use tokio::process::Command;

pub use self::pair::Pair;
pub use self::ports::container_of;

/// `docker compose` with the files of the system that runs.
const COMMAND: &str = "deploy/docker/compose.sh";

/// The project in the working directory.
pub struct Compose {
    project: Project,
}

/// The output of `docker compose config`.
#[derive(Deserialize)]
struct Project {
    name: String,
    services: BTreeMap<String, Definition>,
}

#[derive(Deserialize)]
struct Definition {
    healthcheck: Option<IgnoredAny>,
    /// What runs once has none.
    restart: Option<IgnoredAny>,
    /// How many containers it has; one where it is missing.
    scale: Option<usize>,
}

pub struct Container {
    /// Its name in the compose file.
    pub name: String,
    /// Among those of its name, from 1.
    pub number: usize,
    restarts: u32,
    state: String,
    health: String,
    /// What its last probe said.
    said: String,
}

impl Compose {
    async fn find() -> Result<Self> {
        let config = compose_command(&["config", "--format", "json"]).output().await;
        let config = config.with_context(|| format!("cannot run {COMMAND}"))?;
        ensure!(config.status.success(), "{}", last_line(&config));
        let project = serde_json::from_slice(&config.stdout);
        let mut project: Project =
            project.context("`docker compose config` tells something unknown")?;
        project.services.retain(|_, one| one.restart.is_some());
        Ok(Self { project })
    }

    /// The running system, where it is made of containers.
    pub async fn attach() -> Result<(Self, Vec<Container>)> {
        let compose = Self::find().await?;
        let containers = compose.containers().await?;
        ensure!(!containers.is_empty(), "there are no containers: `make docker-up`");
        Ok((compose, containers))
    }

    /// The versions of the engine and of Compose.
    pub async fn versions(&self) -> Result<[String; 2]> {
        let told = |output: Output| String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let engine = run(&["version", "--format", "{{.Server.Version}}"]).await?;
        Ok([told(engine), told(run(&["compose", "version", "--short"]).await?)])
    }

    /// The containers, with those of the chosen profiles: by their names in the compose file, how
    /// many each is.
    pub fn names(&self) -> impl Iterator<Item = (&str, usize)> {
        self.project.services.iter().map(|(name, one)| (name.as_str(), one.scale.unwrap_or(1)))
    }

    /// The existing containers, running or not, but those that run once.
    async fn containers(&self) -> Result<Vec<Container>> {
        const TOLD: &str = "{{index .Config.Labels \"com.docker.compose.service\"}} \
                            {{index .Config.Labels \"com.docker.compose.container-number\"}} \
                            {{.RestartCount}} {{.State.Status}} \
                            {{$said := \"\"}}{{with .State.Health}}{{.Status}}\
                            {{range .Log}}{{$said = .Output}}{{end}}{{end}} {{json $said}}";
        let label = format!("label=com.docker.compose.project={}", self.project.name);
        let listed = run(&["ps", "--all", "--quiet", "--filter", &label]).await?;
        ensure!(listed.status.success(), "{}", last_line(&listed));
        let ids = String::from_utf8_lossy(&listed.stdout).into_owned();
        let ids: Vec<&str> = ids.lines().collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        // A container that has just gone makes it fail, but it still lists the others.
        let told = run(&[&["inspect", "--format", TOLD], ids.as_slice()].concat()).await?;
        let told = String::from_utf8_lossy(&told.stdout);
        let mut containers: Vec<_> = told.lines().filter_map(Container::read).collect();
        containers.retain(|one| self.project.services.contains_key(&one.name));
        Ok(containers)
    }

    /// Healthy; or running, if it has no health check.
    pub fn is_ready(&self, container: &Container) -> bool {
        let definition = self.project.services.get(&container.name);
        let has_check = definition.is_none_or(|definition| definition.healthcheck.is_some());
        container.is_healthy() || !has_check && container.is_running()
    }

    /// Its name in the compose file, with a number where there are several.
    pub fn name_of(&self, container: &Container) -> String {
        let definition = self.project.services.get(&container.name);
        match definition.and_then(|one| one.scale) {
            Some(2..) => format!("{} {}", container.name, container.number),
            _ => container.name.clone(),
        }
    }

    /// Runs a program in a container, and returns its output.
    pub async fn exec(&self, container: &str, program: &[&str]) -> Result<String> {
        let arguments = [&["exec", "--no-TTY", container], program].concat();
        let output =
            compose_command(&arguments).output().await.context("`docker` cannot be run")?;
        ensure!(output.status.success(), "{}", last_line(&output));
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}

impl Container {
    fn read(line: &str) -> Option<Self> {
        let mut words = line.splitn(6, ' ').map(str::to_owned);
        let name = words.next().filter(|name| !name.is_empty())?;
        let number = words.next()?.parse().ok()?;
        let restarts = words.next()?.parse().ok()?;
        let (state, health) = (words.next()?, words.next().unwrap_or_default());
        let said = words.next().and_then(|said| serde_json::from_str(&said).ok());
        Some(Self { name, number, restarts, state, health, said: said.unwrap_or_default() })
    }

    /// Why some of its work waits, though it is healthy.
    pub fn held_up(&self) -> Option<&str> {
        let (_, why) = self.said.trim().split_once("-service: ")?;
        self.is_healthy().then_some(why)
    }

    pub fn is_running(&self) -> bool {
        self.state == "running"
    }

    pub fn is_healthy(&self) -> bool {
        self.is_running() && self.health == "healthy"
    }

    pub fn has_ended(&self) -> bool {
        ["exited", "dead"].contains(&self.state.as_str())
    }

    /// Whether it exits again and again.
    fn is_looping(&self) -> bool {
        const RESTARTS_MAX: u32 = 2;
        self.restarts > RESTARTS_MAX && !self.is_healthy()
    }

    /// Why it will not become healthy.
    pub fn trouble(&self) -> Option<String> {
        match (self.state.as_str(), self.health.as_str()) {
            _ if self.has_ended() => Some("has ended".to_owned()),
            ("paused", _) => Some("is paused: `docker unpause` lets it go on".to_owned()),
            (_, "unhealthy") => Some("is unhealthy".to_owned()),
            (_, "healthy") => None,
            _ if self.is_looping() => Some("ends again and again".to_owned()),
            _ => None,
        }
    }
}

fn compose_command(arguments: &[&str]) -> Command {
    let mut command = Command::new(COMMAND);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    command
}

async fn run(arguments: &[&str]) -> Result<Output> {
    let output = Command::new("docker").args(arguments).stdin(Stdio::null()).output().await;
    output.context("`docker` cannot be run")
}

/// The last lines of its error output.
fn last_line(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    said.trim_end().lines().next_back().unwrap_or("it says nothing").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Container {
        Container::read(line).unwrap()
    }

    #[test]
    fn a_container_is_ready_when_it_runs_and_its_check_passes() {
        assert!(read("order 1 0 running healthy").is_healthy());
        for not_yet in ["order 1 0 running starting", "order 1 0 created ", "order 1 1 running "] {
            let container = read(not_yet);
            assert!(!container.is_healthy() && container.trouble().is_none(), "{not_yet}");
        }
        assert!(Container::read("").is_none());
        let held_up = r#"order 1 0 running healthy "order-service: held up by a lock\n""#;
        assert_eq!(read(held_up).held_up(), Some("held up by a lock"));
        assert_eq!(read(r#"order-db 1 0 running healthy "accepting""#).held_up(), None);
    }

    #[test]
    fn nobody_waits_for_one_that_has_given_up() {
        let trouble = |line| read(line).trouble().unwrap();
        assert_eq!(trouble("order 1 0 running unhealthy"), "is unhealthy");
        assert_eq!(trouble("order 2 0 exited unhealthy"), "has ended");
        assert!(trouble("order 1 0 paused healthy").contains("docker unpause"));
        assert_eq!(trouble("order 1 3 restarting starting"), "ends again and again");
    }
}
