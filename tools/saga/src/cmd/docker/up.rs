//! `saga docker up`: builds what is new, starts all containers, and is back when each is healthy.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use kit::service::MOCK_GATEWAY;
use kit::settings::Settings;
use servers::ports;
use tokio::time::{Instant, sleep};

use super::build::build;
use crate::compose::{self, Compose, Container};
use crate::progress::Progress;
use crate::urls::Urls;
use crate::welcome;

/// The data and the services' own images; what is fetched or compiled for the first time comes on
/// top, and Docker says itself when there is no room for that.
const ROOM_MB: u64 = 2000;
const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// Longer than the longest interval between two health checks.
const RECOVERY_MAX: Duration = Duration::from_secs(40);

/// Build where needed, start the containers, and wait until all are healthy
#[derive(Args)]
pub struct Up {
    /// How long that may take, without the build
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    wait: u64,
    /// Start the images as they are
    #[arg(long)]
    no_build: bool,
}

impl Up {
    pub async fn run(self, compose: &Compose) -> Result<ExitCode> {
        let settings = Settings::read()?;
        check_user(&settings)?;
        let before = compose.containers().await?;
        check_ports(&settings, &before)?;
        let started = Instant::now();
        compose.ensure_room(ROOM_MB).await?;
        fetch(compose).await?;
        if !self.no_build {
            build(compose).await?;
        }
        let progress = Arc::new(Progress::start(true));
        let start = Start { compose, settings: &settings, before: &before, progress };
        let after = start.run(Duration::from_secs(self.wait)).await?;
        let took = after.iter().any(|one| start.is_new(one)).then(|| started.elapsed());
        welcome::print(&Urls::with_logs(&settings, "make docker-logs"), took);
        Ok(ExitCode::SUCCESS)
    }
}

/// They stand in addresses and in JSON, where Compose cannot escape them.
fn check_user(settings: &Settings) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
    for (variable, value) in [
        ("RABBITMQ_USER", &settings.rabbitmq_user),
        ("RABBITMQ_PASSWORD", &settings.rabbitmq_password),
    ] {
        ensure!(
            value.chars().all(plain),
            "{variable} may have letters, digits and -._~ only when it is for containers"
        );
    }
    Ok(())
}

/// Says of every taken port who has it, before anything is built.
fn check_ports(settings: &Settings, containers: &[Container]) -> Result<()> {
    let runs = |name: &str| containers.iter().any(|one| one.name == name && one.is_running());
    let taken = settings.container_ports().into_iter().filter(|(port, variable)| {
        let name = container_of(settings, variable);
        !runs(&name) && !ports::is_free(*port)
    });
    let complaints: Vec<String> =
        taken.map(|(port, variable)| ports::complaint(port, variable)).collect();
    ensure!(complaints.is_empty(), "{}", complaints.join("\n      "));
    Ok(())
}

fn container_of(settings: &Settings, variable: &str) -> String {
    match settings.databases.iter().find(|database| database.variable == variable) {
        Some(database) => format!("{}-db", database.service),
        None if variable == "ORDER_HTTP_PORT" => "order".to_owned(),
        None if variable == "MOCK_GATEWAY_PORT" => MOCK_GATEWAY.to_owned(),
        None if variable == "OTLP_PORT" => "collector".to_owned(),
        None if settings.observers.iter().any(|(_, observer)| *observer == variable) => {
            variable.trim_end_matches("_PORT").to_lowercase()
        }
        None => "rabbitmq".to_owned(),
    }
}

/// Shown by Docker itself, which knows how far it has got.
async fn fetch(compose: &Compose) -> Result<()> {
    let missing = compose.missing_images().await?;
    if missing.is_empty() {
        return Ok(());
    }
    let mut arguments = vec!["pull"];
    arguments.extend(missing.iter().map(|(name, _)| *name));
    let images: Vec<&str> = missing.iter().map(|(_, image)| *image).collect();
    let fetched = compose.show(&arguments).await?;
    ensure!(fetched.success(), "{} cannot be fetched", images.join(" and "));
    Ok(())
}

/// Starts them, and waits.
struct Start<'a> {
    compose: &'a Compose,
    settings: &'a Settings,
    before: &'a [Container],
    progress: Arc<Progress>,
}

impl Start<'_> {
    async fn run(&self, wait: Duration) -> Result<Vec<Container>> {
        self.compose.names().for_each(|name| self.progress.begin(name));
        let shown = self.progress.show();
        let ready = tokio::time::timeout(wait, self.healthy()).await;
        shown.abort();
        self.progress.clear();
        let Err(_) = ready else { return ready? };
        let containers = self.compose.containers().await?;
        let late = containers.iter().find(|one| !self.compose.is_ready(one));
        let late = late.context("some containers were not started in time")?;
        bail!("{} is not healthy after {wait:?}; {}", late.name, late.last_words().await?)
    }

    /// Returns all containers when the last of them is healthy.
    async fn healthy(&self) -> Result<Vec<Container>> {
        let mut command =
            self.compose.command(&["--ansi", "never", "up", "--detach", "--no-build"]);
        let mut starting = tokio::spawn(async move { command.output().await });
        let mut ended = None;
        let mut waiting: BTreeSet<&str> = self.compose.names().collect();
        loop {
            if ended.is_none() && starting.is_finished() {
                ended = Some(((&mut starting).await??, Instant::now()));
            }
            let failed = ended.as_ref().map(|(up, _)| up).filter(|up| !up.status.success());
            // An old container may yet be replaced, or is looking for its servers again.
            let recovers = ended.as_ref().is_none_or(|(_, since)| since.elapsed() < RECOVERY_MAX);
            let containers = self.compose.containers().await?;
            for one in &containers {
                let counts = self.is_new(one) || ended.is_some();
                if counts && self.compose.is_ready(one) && waiting.remove(one.name.as_str()) {
                    self.progress.done(&one.name, &address(self.settings, &one.name));
                }
                let is_final = self.is_new(one) || failed.is_some() || !recovers;
                if let Some(trouble) = one.trouble().filter(|_| is_final) {
                    bail!("{} {trouble}; {}", one.name, one.last_words().await?);
                }
            }
            if let Some(failed) = failed {
                bail!("the containers cannot be started: {}", compose::last_line(failed));
            }
            if waiting.is_empty() && ended.is_some() {
                return Ok(containers);
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    fn is_new(&self, container: &Container) -> bool {
        !self.before.iter().any(|old| old.id == container.id)
    }
}

fn address(settings: &Settings, name: &str) -> String {
    let ports = settings.container_ports();
    let port = ports.iter().find(|(_, variable)| container_of(settings, variable) == name);
    port.map_or_else(String::new, |(port, _)| format!("127.0.0.1:{port}"))
}
