//! A private RabbitMQ with its management page: one node of its own name, with its own home, cookie
//! and epmd, everything on 127.0.0.1.

mod definitions;
mod node;

use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::{Lifetime, Process, install, ports, spawn, tail, until};

const START_BOUND: Duration = Duration::from_secs(120);
const STOP_BOUND: Duration = Duration::from_secs(20);
const POLL_INTERVAL: Duration = Duration::from_millis(50);

#[derive(Clone)]
pub struct RabbitConfig {
    /// Holds the data, the logs, the settings and the pid files. Made when it is not there.
    pub dir: PathBuf,
    pub port: u16,
    pub management_port: u16,
    /// The administrator; there is no `guest`.
    pub user: String,
    pub password: String,
    /// Joined to what every node gets (the user, the virtual host `/`, the policies), in the form of
    /// RabbitMQ's own definitions: `{"users": […], "permissions": […]}`. `null` for nothing.
    pub definitions: Value,
    pub lifetime: Lifetime,
}

pub struct RabbitMq {
    config: RabbitConfig,
    node: Running,
    epmd: Running,
}

/// A process, with what we have to wait for where we started it.
struct Running {
    process: Process,
    child: Option<Child>,
}

impl RabbitMq {
    /// Starts the node and returns when it takes AMQP connections and its management answers.
    pub async fn start(mut config: RabbitConfig) -> Result<Self> {
        config.dir = std::path::absolute(&config.dir)?;
        let dir = config.dir.clone();
        if let Some(process) = Process::recorded(&dir.join(NODE_PID)) {
            bail!("RabbitMQ in {} runs already as pid {}", dir.display(), process.pid);
        }
        let programs = install::find()?;
        let network = node::Network { epmd: ports::free()?, distribution: ports::free()? };
        node::write_settings(&config, &network)?;

        let epmd = start_epmd(&config, &programs, &network).await?;
        let node = Running::start(&mut node::command(&config, &programs, &network), &config, NODE_PID)?;
        let mut server = Self { config, node, epmd };
        match server.become_ready().await {
            Ok(()) => Ok(server),
            Err(error) => {
                server.kill().await;
                server.stop_epmd().await;
                Err(error.context(format!("its log ends:\n{}", tail(&server.log_file(), 10))))
            }
        }
    }

    /// The node that was left running in the background in this directory, if any.
    pub fn attach(mut config: RabbitConfig) -> Result<Option<Self>> {
        config.dir = std::path::absolute(&config.dir)?;
        let found = |file| Process::recorded(&config.dir.join(file));
        let Some((node, epmd)) = found(NODE_PID).zip(found(EPMD_PID)) else { return Ok(None) };
        let running = |process| Running { process, child: None };
        Ok(Some(Self { node: running(node), epmd: running(epmd), config }))
    }

    async fn become_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + START_BOUND;
        let port = self.config.port;
        let check = format!("{}/api/health/checks/port-listener/{port}", self.management_url());
        let client = reqwest::Client::builder().timeout(Duration::from_secs(5)).build()?;
        loop {
            ensure!(self.is_running(), "RabbitMQ on port {port} ended while it started");
            if ports::is_listened_on(port) && ports::is_listened_on(self.config.management_port) {
                let answer = client
                    .get(&check)
                    .basic_auth(&self.config.user, Some(&self.config.password))
                    .send()
                    .await;
                if answer.is_ok_and(|answer| answer.status().is_success()) {
                    return Ok(());
                }
            }
            ensure!(
                Instant::now() < deadline,
                "RabbitMQ on port {port} is not ready after {START_BOUND:?}"
            );
            sleep(POLL_INTERVAL).await;
        }
    }

    /// Without a virtual host: with `/%2f` behind it, it is the default one.
    pub fn url(&self) -> String {
        let RabbitConfig { port, user, password, .. } = &self.config;
        format!("amqp://{user}:{password}@127.0.0.1:{port}")
    }

    pub fn management_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.config.management_port)
    }

    /// The node's own process.
    pub fn process(&self) -> Process {
        self.node.process
    }

    pub fn log_file(&self) -> PathBuf {
        self.config.dir.join("server.log")
    }

    pub fn is_running(&self) -> bool {
        self.node.process.is_alive()
    }

    /// Closes connections, writes everything down and ends; the data stays.
    pub async fn stop(&mut self) -> Result<()> {
        self.node.process.end(&[(Signal::SIGTERM, STOP_BOUND)]).await;
        self.node_ended()?;
        self.stop_epmd().await;
        Ok(())
    }

    /// As a crash would: no word to its clients, nothing flushed. What was confirmed is kept.
    pub async fn kill(&mut self) {
        self.node.process.end(&[]).await;
        self.node_ended().ok();
    }

    /// Starts it again on the same data, wherever it has got to; it is stopped first if it runs.
    pub async fn restart(&mut self) -> Result<()> {
        if self.is_running() {
            self.stop().await?;
        }
        self.stop_epmd().await;
        let config = self.config.clone();
        ensure!(ports::is_free(config.port), "{}", ports::complaint(config.port, "of this RabbitMQ"));
        *self = Self::start(config).await?;
        Ok(())
    }

    fn node_ended(&mut self) -> Result<()> {
        ensure!(!self.is_running(), "RabbitMQ, pid {}, does not end", self.node.process.pid);
        self.node.ended(&self.config.dir.join(NODE_PID))
    }

    async fn stop_epmd(&mut self) {
        self.epmd.process.end(&[(Signal::SIGTERM, Duration::from_secs(2))]).await;
        self.epmd.ended(&self.config.dir.join(EPMD_PID)).ok();
    }
}

impl Drop for RabbitMq {
    fn drop(&mut self) {
        if self.config.lifetime.watchdog().is_none() {
            return;
        }
        for running in [&mut self.node, &mut self.epmd] {
            running.process.signal(Signal::SIGKILL);
            if let Some(mut child) = running.child.take() {
                child.wait().ok();
            }
        }
    }
}

const NODE_PID: &str = "server.pid";
const EPMD_PID: &str = "epmd.pid";

impl Running {
    fn start(
        command: &mut std::process::Command,
        config: &RabbitConfig,
        pid_file: &str,
    ) -> Result<Self> {
        let (process, child) = spawn(command, &config.dir.join("server.log"))?;
        if let Some(watchdog) = config.lifetime.watchdog() {
            watchdog.ends(process, Signal::SIGKILL)?;
        }
        process.record(&config.dir.join(pid_file))?;
        Ok(Self { process, child: Some(child) })
    }

    fn ended(&mut self, pid_file: &Path) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.wait().context("cannot wait for its end")?;
        }
        std::fs::remove_file(pid_file).ok();
        Ok(())
    }
}

async fn start_epmd(
    config: &RabbitConfig,
    programs: &install::Programs,
    network: &node::Network,
) -> Result<Running> {
    // One that a killed run has left behind serves nobody any more.
    if let Some(left) = Process::recorded(&config.dir.join(EPMD_PID)) {
        left.end(&[(Signal::SIGTERM, Duration::from_secs(2))]).await;
    }
    let running = Running::start(&mut node::epmd_command(programs, network), config, EPMD_PID)?;
    let listens = || ports::is_listened_on(network.epmd).then_some(());
    let listening = until(Duration::from_secs(10), listens).await;
    listening.context("epmd, which RabbitMQ needs, does not listen on 127.0.0.1")?;
    Ok(running)
}
