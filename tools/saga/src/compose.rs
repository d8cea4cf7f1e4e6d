//! Runs the `docker compose` command, and reads the state of its containers.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{ExitStatus, Output, Stdio};

use anyhow::{Context, Result, bail, ensure};
use kit::disk::ensure_room;
use kit::settings::{Gateway, Settings};
use serde::{Deserialize, de::IgnoredAny};
use tokio::process::Command;

/// The project in the working directory.
pub struct Compose {
    project: Project,
    variables: Vec<(&'static str, &'static str)>,
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
}

pub struct Container {
    pub id: String,
    /// Its name in the compose file.
    pub name: String,
    restarts: u32,
    state: String,
    health: String,
}

impl Compose {
    /// Reports which part of Docker is missing, and how to install it.
    pub async fn find(settings: &Settings) -> Result<Self> {
        let without = "use `make up`, which needs no Docker";
        let docker = Command::new("docker").arg("--version").output().await;
        ensure!(docker.is_ok(), "there is no `docker` command: install Docker, or {without}");
        let compose = run(&["compose", "version"]).await?;
        ensure!(
            compose.status.success(),
            "Docker Compose is missing: install Docker's plugin `compose` (version 2), or {without}"
        );
        let engine = run(&["version", "--format", "{{.Server.Version}}"]).await?;
        if !engine.status.success() {
            bail!("no Docker engine answers ({}): start it, or {without}", last_line(&engine));
        }
        let variables = variables(settings);
        let mut config = compose_command(&variables);
        let config = config.args(["config", "--format", "json"]).output().await?;
        ensure!(config.status.success(), "{}", last_line(&config));
        let project = serde_json::from_slice(&config.stdout);
        let project = project.context("`docker compose config` tells something unknown")?;
        Ok(Self { project, variables })
    }

    /// The versions of the engine and of Compose.
    pub async fn versions(&self) -> Result<[String; 2]> {
        let told = |output: Output| String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let engine = run(&["version", "--format", "{{.Server.Version}}"]).await?;
        Ok([told(engine), told(run(&["compose", "version", "--short"]).await?)])
    }

    /// Fails when there is too little room for images and data, as far as this machine can tell.
    pub async fn ensure_room(&self, needed_mb: u64) -> Result<()> {
        let told = run(&["info", "--format", "{{.DockerRootDir}}"]).await?;
        let root = String::from_utf8_lossy(&told.stdout).trim().to_owned();
        let remedy = "`docker system df` tells what takes it, `docker system prune` frees some";
        // An engine in a virtual machine has its directory there, where its free space is not
        // known.
        match Path::new(&root) {
            root if root.is_dir() => ensure_room(root, needed_mb, remedy),
            _ => Ok(()),
        }
    }

    /// The nine containers, and those of the chosen profiles, by their names in the compose file.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.project.services.keys().map(String::as_str)
    }

    /// The existing containers, running or not.
    pub async fn containers(&self) -> Result<Vec<Container>> {
        const TOLD: &str = "{{.Id}} {{index .Config.Labels \"com.docker.compose.service\"}} \
                            {{.RestartCount}} {{.State.Status}} \
                            {{with .State.Health}}{{.Status}}{{end}}";
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
        Ok(told.lines().filter_map(Container::read).collect())
    }

    /// Healthy; or running, if it has no health check.
    pub fn is_ready(&self, container: &Container) -> bool {
        let definition = self.project.services.get(&container.name);
        let has_check = definition.is_none_or(|definition| definition.healthcheck.is_some());
        container.is_healthy() || !has_check && container.is_running()
    }

    /// Its output is shown as it comes.
    pub async fn show(&self, arguments: &[&str]) -> Result<ExitStatus> {
        let status = self.command(arguments).status().await;
        status.context("`docker` cannot be run")
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = compose_command(&self.variables);
        command.args(arguments);
        command
    }
}

impl Container {
    fn read(line: &str) -> Option<Self> {
        let mut words = line.split(' ').map(str::to_owned);
        let (id, name) = (words.next()?, words.next()?);
        let restarts = words.next()?.parse().ok()?;
        let (state, health) = (words.next()?, words.next().unwrap_or_default());
        Some(Self { id, name, restarts, state, health })
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
    pub fn is_looping(&self) -> bool {
        const RESTARTS_MAX: u32 = 2;
        self.restarts > RESTARTS_MAX && !self.is_healthy()
    }

    /// Why it will not become healthy.
    pub fn trouble(&self) -> Option<String> {
        match (self.state.as_str(), self.health.as_str()) {
            _ if self.has_ended() => Some("has ended".to_owned()),
            (_, "unhealthy") => Some("is unhealthy".to_owned()),
            (_, "healthy") => None,
            _ if self.is_looping() => Some("ends again and again".to_owned()),
            _ => None,
        }
    }

    /// The output of its last health check, and its last log lines.
    pub async fn last_words(&self) -> Result<String> {
        const CHECKS: &str =
            "{{with .State.Health}}{{range .Log}}{{println .Output}}{{end}}{{end}}";
        let mut words = String::new();
        let checks = run(&["inspect", "--format", CHECKS, &self.id]).await?;
        let checks = String::from_utf8_lossy(&checks.stdout);
        if let Some(check) = checks.trim().lines().next_back() {
            words = format!("its health check says: {check}\n");
        }
        let logs = run(&["logs", "--tail", "15", &self.id]).await?;
        let logs = [logs.stdout, logs.stderr].concat();
        let logs = String::from_utf8_lossy(&logs);
        match logs.trim_end() {
            "" => Ok(words + "its log is empty"),
            logs => Ok(words + "its log ends:\n" + logs),
        }
    }
}

/// The files, the chosen profiles, and the addresses of their containers for the services.
fn variables(settings: &Settings) -> Vec<(&'static str, &'static str)> {
    let with_gateway = settings.gateway == Gateway::Http;
    let mut variables = Vec::new();
    if settings.tls.is_some() {
        variables.push(("COMPOSE_FILE", "docker-compose.yml:deploy/docker/tls.yml"));
    }
    match (with_gateway, settings.is_observed) {
        (false, false) => return variables,
        (true, false) => variables.push(("COMPOSE_PROFILES", "http-gateway")),
        (false, true) => variables.push(("COMPOSE_PROFILES", "observability")),
        (true, true) => variables.push(("COMPOSE_PROFILES", "http-gateway,observability")),
    }
    if with_gateway {
        variables.push(("PAYMENT_GATEWAY_URL", "http://mock-gateway:3002"));
    }
    if settings.is_observed {
        variables.push(("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318"));
        variables.push(("OTEL_METRIC_EXPORT_INTERVAL", "10000"));
    }
    variables
}

fn compose_command(variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new("docker");
    command.arg("compose").stdin(Stdio::null()).kill_on_drop(true);
    command.envs(variables.iter().copied());
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
        assert!(read("1f order 0 running healthy").is_healthy());
        for not_yet in ["1f order 0 running starting", "1f order 0 created ", "1f order 1 running "]
        {
            let container = read(not_yet);
            assert!(!container.is_healthy() && container.trouble().is_none(), "{not_yet}");
        }
        assert!(Container::read("").is_none());
    }

    #[test]
    fn nobody_waits_for_one_that_has_given_up() {
        let trouble = |line| read(line).trouble().unwrap();
        assert_eq!(trouble("1f order 0 running unhealthy"), "is unhealthy");
        assert_eq!(trouble("1f order 0 exited unhealthy"), "has ended");
        assert_eq!(trouble("1f order 3 restarting starting"), "ends again and again");
    }
}
