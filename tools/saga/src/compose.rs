//! Runs the `docker compose` command, and reads the state of its containers.

mod pair;
mod ports;

use std::collections::BTreeMap;
use std::env;
use std::path::Path;
use std::process::{ExitStatus, Output, Stdio};

use anyhow::{Context, Result, bail, ensure};
use kit::disk::ensure_room;
use kit::service::write_secret;
use kit::settings::{Gateway, Settings};
use serde::{Deserialize, de::IgnoredAny};
use tokio::process::Command;

pub use self::pair::Pair;
pub use self::ports::container_of;

/// Is added to the compose file for a cluster.
const CLUSTER_FILE: &str = "deploy/docker/cluster.yml";
const TLS_FILE: &str = "deploy/docker/tls.yml";

/// The project in the working directory.
pub struct Compose {
    project: Project,
    variables: Vec<(&'static str, String)>,
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
    /// How many containers it has; one where it is missing.
    scale: Option<usize>,
}

pub struct Container {
    pub id: String,
    /// Its name in the compose file.
    pub name: String,
    /// Among those of its name, from 1.
    pub number: usize,
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
        let mut variables = variables(settings);
        variables.extend(operator(settings)?);
        let mut config = compose_command(&variables);
        let config = config.args(["config", "--format", "json"]).output().await?;
        ensure!(config.status.success(), "{}", last_line(&config));
        let project = serde_json::from_slice(&config.stdout);
        let project = project.context("`docker compose config` tells something unknown")?;
        Ok(Self { project, variables })
    }

    /// The running system, where it is made of containers.
    pub async fn attach(settings: &Settings) -> Option<(Self, Vec<Container>)> {
        let compose = Self::find(settings).await.ok()?;
        let containers = compose.containers().await.ok().filter(|all| !all.is_empty())?;
        Some((compose, containers))
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

    /// The containers, with those of the chosen profiles: by their names in the compose file, how
    /// many each is.
    pub fn names(&self) -> impl Iterator<Item = (&str, usize)> {
        self.project.services.iter().map(|(name, one)| (name.as_str(), one.scale.unwrap_or(1)))
    }

    /// The existing containers, running or not.
    pub async fn containers(&self) -> Result<Vec<Container>> {
        const TOLD: &str = "{{.Id}} {{index .Config.Labels \"com.docker.compose.service\"}} \
                            {{index .Config.Labels \"com.docker.compose.container-number\"}} \
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

    /// Its name in the compose file, with a number where there are several.
    pub fn name_of(&self, container: &Container) -> String {
        let definition = self.project.services.get(&container.name);
        match definition.and_then(|one| one.scale) {
            Some(2..) => format!("{} {}", container.name, container.number),
            _ => container.name.clone(),
        }
    }

    /// Its output is shown as it comes.
    pub async fn show(&self, arguments: &[&str]) -> Result<ExitStatus> {
        let status = self.command(arguments).status().await;
        status.context("`docker` cannot be run")
    }

    /// Runs a program in a container, and returns its output.
    pub async fn exec(&self, container: &str, program: &[&str]) -> Result<String> {
        let arguments = [&["exec", "--no-TTY", container], program].concat();
        let output = self.command(&arguments).output().await.context("`docker` cannot be run")?;
        ensure!(output.status.success(), "{}", last_line(&output));
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
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
        let number = words.next()?.parse().ok()?;
        let restarts = words.next()?.parse().ok()?;
        let (state, health) = (words.next()?, words.next().unwrap_or_default());
        Some(Self { id, name, number, restarts, state, health })
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

/// The files of a cluster and of TLS, the chosen profiles, and the addresses of their containers
/// for the services.
fn variables(settings: &Settings) -> Vec<(&'static str, String)> {
    let mut variables = Vec::new();
    let added = [(settings.is_cluster, CLUSTER_FILE), (settings.tls.is_some(), TLS_FILE)];
    let mut added = added.into_iter().filter(|(is_wanted, _)| *is_wanted).peekable();
    if added.peek().is_some() {
        let files = env::var("COMPOSE_FILE").ok().filter(|files| !files.is_empty());
        let mut files = files.unwrap_or_else(|| "docker-compose.yml".to_owned());
        for (_, file) in added {
            if !files.split(':').any(|named| named == file) {
                files = format!("{files}:{file}");
            }
        }
        variables.push(("COMPOSE_FILE", files));
    }
    let with_gateway = settings.gateway == Gateway::Http;
    let profiles = match (with_gateway, settings.is_observed) {
        (false, false) => return variables,
        (true, false) => "http-gateway",
        (false, true) => "observability",
        (true, true) => "http-gateway,observability",
    };
    let mut set = |name, value: &str| variables.push((name, value.to_owned()));
    set("COMPOSE_PROFILES", profiles);
    if with_gateway {
        set("PAYMENT_GATEWAY_URL", "http://mock-gateway:3002");
    }
    if settings.is_observed {
        set("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");
        set("OTEL_METRIC_EXPORT_INTERVAL", "10000");
    }
    variables
}

/// The file with the operator's login for order's page, if it is not the usual one. Its container's
/// user reads it, and on this machine nobody else: its directory is closed.
fn operator(settings: &Settings) -> Result<Option<(&'static str, String)>> {
    let Settings { home, rabbitmq_user: user, rabbitmq_password: password, .. } = settings;
    const NAME: &str = "OPERATOR_AMQP_URL_FILE";
    if (user.as_str(), password.as_str()) == ("admin", "admin") || env::var_os(NAME).is_some() {
        return Ok(None);
    }
    let file = home.join("secrets/operator-amqp-url");
    write_secret(&file, &format!("amqp://{user}:{password}@rabbitmq:5672/%2f"), 0o644)?;
    Ok(Some((NAME, file.display().to_string())))
}

fn compose_command(variables: &[(&str, String)]) -> Command {
    let mut command = Command::new("docker");
    command.arg("compose").stdin(Stdio::null()).kill_on_drop(true);
    command.envs(variables.iter().map(|(name, value)| (name, value)));
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
        assert!(read("1f order 1 0 running healthy").is_healthy());
        for not_yet in
            ["1f order 1 0 running starting", "1f order 1 0 created ", "1f order 1 1 running "]
        {
            let container = read(not_yet);
            assert!(!container.is_healthy() && container.trouble().is_none(), "{not_yet}");
        }
        assert!(Container::read("").is_none());
    }

    #[test]
    fn nobody_waits_for_one_that_has_given_up() {
        let trouble = |line| read(line).trouble().unwrap();
        assert_eq!(trouble("1f order 1 0 running unhealthy"), "is unhealthy");
        assert_eq!(trouble("1f order 2 0 exited unhealthy"), "has ended");
        assert_eq!(trouble("1f order 1 3 restarting starting"), "ends again and again");
    }
}
