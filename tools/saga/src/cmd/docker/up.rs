//! `saga docker up`: builds where needed, starts all containers, and waits until each is healthy.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use kit::home::Home;
use kit::keys;
use kit::settings::Settings;
use servers::ports;
use tokio::time::{Instant, sleep};

use super::build::build;
use crate::compose::{Compose, Container, container_of};
use crate::urls::Urls;
use crate::welcome;

/// The data and the services' own images; the first download and build need more, and Docker
/// reports itself when the disk is full.
const ROOM_MB: u64 = 2000;
const POLL_INTERVAL: Duration = Duration::from_secs(1);
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
        let settings = Settings::of_containers()?;
        check_user(&settings)?;
        ensure!(
            !settings.is_cluster || settings.tls.is_none(),
            "in containers TLS=1 and CLUSTER=3 do not go together yet: choose one, or use \
             `make up`, which has both"
        );
        let before = compose.containers().await?;
        check_kind(&settings, &before)?;
        check_ports(&settings, &before)?;
        let started = Instant::now();
        compose.ensure_room(ROOM_MB).await?;
        if !self.no_build {
            build(compose).await?;
        }
        let is_new = |one: &Container| !before.iter().any(|old| old.id == one.id);
        let renewed = settings.certify_containers()?.then_some("--force-recreate");
        let after = start(compose, Duration::from_secs(self.wait), renewed, is_new).await?;
        if settings.are_keys_required {
            Home::new(&settings).make()?;
            keys::ensure_operator(&settings).await?;
        }
        if settings.is_cluster {
            // A node that was away leads no queue.
            compose.exec("rabbitmq", &["rabbitmq-queues", "rebalance", "all"]).await?;
        }
        let took = after.iter().any(is_new).then(|| started.elapsed());
        welcome::print(&settings, &Urls::with_logs(&settings, "make docker-logs"), took);
        Ok(ExitCode::SUCCESS)
    }
}

/// They are part of URLs and JSON, where Compose cannot escape them.
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

/// What was made without a cluster does not become one.
fn check_kind(settings: &Settings, containers: &[Container]) -> Result<()> {
    let is_cluster = containers.iter().any(|one| one.name == "haproxy");
    let is_other = settings.is_cluster && !containers.is_empty() && !is_cluster;
    ensure!(!is_other, "the containers are no cluster: `make docker-down` deletes them");
    Ok(())
}

/// Reports the owner of every taken port, before anything is built.
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

/// Returns all containers when the last of them is healthy. Docker shows the progress.
async fn start(
    compose: &Compose,
    wait: Duration,
    option: Option<&str>,
    is_new: impl Fn(&Container) -> bool,
) -> Result<Vec<Container>> {
    let is_looping = |one: &Container| is_new(one) && one.is_looping();
    let started = Instant::now();
    let mut is_first = true;
    loop {
        let left = wait.saturating_sub(started.elapsed()).as_secs().max(1).to_string();
        let mut up = vec!["up", "--detach", "--no-build", "--wait", "--wait-timeout", &left];
        up.extend(option.filter(|_| is_first));
        is_first = false;
        let is_up = tokio::select! {
            up = compose.show(&up) => up?.success(),
            () = any(compose, is_looping) => false,
        };
        let containers = compose.containers().await?;
        if is_up {
            return Ok(containers);
        }
        // Docker gives up on a container that was unhealthy before, and is still connecting to its
        // servers.
        let is_over = started.elapsed() >= wait.min(RECOVERY_MAX);
        let failed = containers.iter().find(|one| one.has_ended() || is_looping(one));
        if is_over || failed.is_some() {
            let late = failed.or_else(|| containers.iter().find(|one| !compose.is_ready(one)));
            let late = late.context("the containers cannot be started")?;
            let why = late.trouble().unwrap_or_else(|| "is not healthy yet".to_owned());
            bail!("{} {why}; {}", late.name, late.last_words().await?);
        }
        sleep(POLL_INTERVAL).await;
    }
}

/// Returns once there is such a container: Docker would wait for one that exits again and again.
async fn any(compose: &Compose, is_meant: impl Fn(&Container) -> bool) {
    loop {
        sleep(POLL_INTERVAL).await;
        if compose.containers().await.is_ok_and(|all| all.iter().any(&is_meant)) {
            return;
        }
    }
}
