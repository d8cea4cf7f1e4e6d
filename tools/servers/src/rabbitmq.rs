//! A private RabbitMQ with its management page: one node of its own name, with its own home, cookie
//! and epmd, or one of a cluster that shares them; everything on 127.0.0.1.

mod cluster;
mod definitions;
mod node;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::running::Running;
use crate::tail::with_log;
use crate::{Certificates, Lifetime, Process, install, ports, until};

pub use cluster::{Membership, RabbitCluster};

const START_BOUND: Duration = Duration::from_secs(120);
const STOP_BOUND: Duration = Duration::from_secs(20);
const PROBE_BOUND: Duration = Duration::from_secs(5);
const POLL_INTERVAL: Duration = Duration::from_millis(50);

const NODE_PID: &str = "server.pid";
const EPMD_PID: &str = "epmd.pid";
const KILLED_BY: Signal = Signal::SIGKILL;
const EPMD_ASKS: [(Signal, Duration); 1] = [(Signal::SIGTERM, Duration::from_secs(2))];

#[derive(Clone)]
pub struct RabbitConfig {
    /// Holds the data, the logs, the settings and the pid files. Created if missing.
    pub dir: PathBuf,
    pub port: u16,
    pub management_port: u16,
    /// Where Prometheus scrapes it, if anywhere.
    pub metrics_port: Option<u16>,
    /// The administrator; there is no `guest`.
    pub user: String,
    pub password: String,
    /// Joined to what every node gets (the user, the virtual host `/`), in the form
    /// of RabbitMQ's own definitions: `{"users": […], "permissions": […]}`.
    pub definitions: Vec<Value>,
    /// Where RabbitMQ is taken from (`release::rabbitmq`), where not from the machine.
    pub root: Option<PathBuf>,
    /// None for a node that is a cluster of its own.
    pub cluster: Option<Membership>,
    /// Those of its AMQP connections; without them, they are plain.
    pub tls: Option<Certificates>,
    pub lifetime: Lifetime,
}

pub struct RabbitMq {
    config: RabbitConfig,
    node: Running,
    /// None where it has died on its own, which leaves the node running, and in a cluster.
    epmd: Option<Running>,
}

impl RabbitMq {
    /// Starts the node and returns when it takes AMQP connections and its management answers. A
    /// node of a cluster must have been started by `RabbitCluster` once.
    pub async fn start(config: RabbitConfig) -> Result<Self> {
        let mut server = Self::launch(config).await?;
        server.lives();
        Ok(server)
    }

    /// The same, but it ends when it is dropped, whatever its lifetime.
    async fn launch(mut config: RabbitConfig) -> Result<Self> {
        config.dir = std::path::absolute(&config.dir)?;
        if let Some(membership) = &mut config.cluster {
            membership.dir = std::path::absolute(&membership.dir)?;
        }
        let dir = config.dir.display();
        // It would never be ready by the one, and read half of its settings by the other.
        ensure!(
            !config.dir.to_string_lossy().contains(['\'', '#']),
            "RabbitMQ does not work in {dir}: choose a directory without ' and # in its path"
        );
        if let Some(process) = Process::recorded(&config.dir.join(NODE_PID)) {
            bail!("RabbitMQ in {dir} runs already as pid {}", process.pid);
        }
        let programs = programs(&config)?;
        let epmd = config.cluster.as_ref().map_or_else(ports::free, Membership::epmd_port)?;
        let network = node::Network { epmd, distribution: ports::free()? };
        node::write_settings(&config, &programs, &network)?;

        let epmd = match &config.cluster {
            None => Some(start_epmd(&config.dir, &config, &programs, epmd).await?),
            Some(_) => None,
        };
        let command = &mut node::command(&config, &programs, &network);
        let log = boot_log(&config.dir);
        let pid_file = config.dir.join(NODE_PID);
        let node = Running::start(command, &log, pid_file, KILLED_BY, &config.lifetime)?;
        let server = Self { config, node, epmd };
        let ready = server.ready().await;
        ready.map_err(|error| with_log(&error, &server.telling_log()))?;
        server.note_first_start()?;
        Ok(server)
    }

    async fn start_or_attach(config: RabbitConfig) -> Result<Self> {
        let Some(server) = Self::attach(config.clone())? else {
            return Self::launch(config).await;
        };
        // The run that started it may have died before it was complete.
        server.ready().await?;
        server.note_first_start()?;
        Ok(server)
    }

    /// A cluster notes its own, once it is whole.
    fn note_first_start(&self) -> Result<()> {
        match self.config.cluster {
            None => node::note_first_start(&self.config.dir),
            Some(_) => Ok(()),
        }
    }

    fn lives(&mut self) {
        for running in [Some(&mut self.node), self.epmd.as_mut()].into_iter().flatten() {
            running.lives(&self.config.lifetime);
        }
    }

    /// The node that was left running in the background in this directory, if any.
    pub fn attach(mut config: RabbitConfig) -> Result<Option<Self>> {
        config.dir = std::path::absolute(&config.dir)?;
        let Some(node) = Running::attach(config.dir.join(NODE_PID), KILLED_BY) else {
            return Ok(None);
        };
        let epmd = left_epmd(&config.dir);
        Ok(Some(Self { config, node, epmd }))
    }

    /// Ends the epmd that a node which died on its own has left behind in `dir`.
    pub async fn end_left_epmd(dir: &Path) -> Result<()> {
        match left_epmd(&std::path::absolute(dir)?) {
            Some(mut left) => left.end(&EPMD_ASKS).await,
            None => Ok(()),
        }
    }

    /// Returns when it takes AMQP connections and its management answers.
    pub async fn ready(&self) -> Result<()> {
        let deadline = Instant::now() + START_BOUND;
        let port = self.config.port;
        while !self.is_ready().await {
            ensure!(self.is_running(), "RabbitMQ on port {port} ended while it started");
            if let Some(frozen) = self.process().frozen() {
                bail!("RabbitMQ on port {port} is {frozen}")
            }
            let in_time = Instant::now() < deadline;
            ensure!(in_time, "RabbitMQ on port {port} is not ready after {START_BOUND:?}");
            sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }

    /// Whether it takes AMQP connections and its management answers.
    pub async fn is_ready(&self) -> bool {
        let RabbitConfig { port, management_port, .. } = &self.config;
        let listens = [*port, *management_port].into_iter().all(ports::is_listened_on);
        if !listens || !self.is_running() || self.process().is_frozen() {
            return false;
        }
        let check = format!("health/checks/port-listener/{port}");
        let Ok(request) = self.request(Method::GET, &check, PROBE_BOUND) else {
            return false;
        };
        request.send().await.is_ok_and(|answer| answer.status().is_success())
    }

    pub fn is_running(&self) -> bool {
        self.node.is_alive()
    }

    /// The node's own process.
    pub fn process(&self) -> Process {
        self.node.process
    }

    /// Without a virtual host: with `/%2f` behind it, it is the default one. With TLS, parameters
    /// come behind that.
    pub fn url(&self) -> String {
        let RabbitConfig { port, user, password, tls, .. } = &self.config;
        let scheme = if tls.is_some() { "amqps" } else { "amqp" };
        format!("{scheme}://{user}:{password}@127.0.0.1:{port}")
    }

    pub fn management_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.config.management_port)
    }

    /// The node's log, written once it has read its settings.
    pub fn log_file(&self) -> PathBuf {
        self.config.dir.join("log/rabbit.log")
    }

    /// The log with the cause of a failed start: the one that was written last.
    fn telling_log(&self) -> PathBuf {
        let logs = [boot_log(&self.config.dir), self.log_file()];
        let written =
            |log: &PathBuf| std::fs::metadata(log).and_then(|found| found.modified()).ok();
        logs.into_iter().max_by_key(written).unwrap_or_default()
    }

    /// Blocks publishers while the node uses more than this share of the machine's memory.
    pub async fn limit_memory(&self, share: f64) -> Result<()> {
        self.control(&["set_vm_memory_high_watermark", &share.to_string()]).await.map(|_| ())
    }

    /// The value of an Erlang expression in the node.
    pub async fn eval(&self, expression: &str) -> Result<String> {
        let said = self.control(&["--quiet", "eval", expression]).await?;
        Ok(said.trim().to_owned())
    }

    /// Whether a memory or disk alarm blocks publishers now.
    pub async fn has_alarm(&self) -> Result<bool> {
        let check = "health/checks/local-alarms";
        let answer = self.request(Method::GET, check, PROBE_BOUND)?.send().await?;
        Ok(answer.status() == StatusCode::SERVICE_UNAVAILABLE)
    }

    /// A request to its management API.
    fn request(&self, method: Method, path: &str, bound: Duration) -> Result<RequestBuilder> {
        let RabbitConfig { user, password, .. } = &self.config;
        let client = https::plain().no_proxy().timeout(bound).build()?;
        let url = format!("{}/api/{path}", self.management_url());
        Ok(client.request(method, url).basic_auth(user, Some(password)))
    }

    /// Runs the node's own `rabbitmqctl`.
    async fn control(&self, arguments: &[&str]) -> Result<String> {
        let program = programs(&self.config)?.rabbitmq.join("rabbitmqctl");
        let environment = self.config.dir.join("environment");
        let mut command = tokio::process::Command::new("sh");
        command.args(["-c", ". \"$0\" && exec \"$@\""]).arg(&environment).arg(&program);
        let output = command.args(arguments).kill_on_drop(true).output().await?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "rabbitmqctl {} failed: {said}", arguments.join(" "));
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Closes connections, flushes everything and ends; the data stays.
    pub async fn stop(&mut self) -> Result<()> {
        self.node.end(&[(Signal::SIGTERM, STOP_BOUND)]).await?;
        match &mut self.epmd {
            Some(epmd) => epmd.end(&EPMD_ASKS).await,
            None => Ok(()),
        }
    }

    /// Like a crash: clients get no notice, nothing is flushed. Confirmed messages are kept.
    pub async fn kill(&mut self) -> Result<()> {
        self.node.end(&[]).await
    }

    /// Starts it again on the same data, in any state; it is stopped first if it runs.
    pub async fn restart(&mut self) -> Result<()> {
        self.stop().await?;
        let config = self.config.clone();
        let port = config.port;
        ensure!(ports::is_free(port), "{}", ports::complaint(port, "of this RabbitMQ"));
        *self = Self::start(config).await?;
        Ok(())
    }
}

fn programs(config: &RabbitConfig) -> Result<install::Programs> {
    let machine = install::find()?;
    Ok(match &config.root {
        Some(root) => machine.with_rabbitmq_of(root),
        None => machine,
    })
}

/// Its pid file is in `dir`.
async fn start_epmd(
    dir: &Path,
    config: &RabbitConfig,
    programs: &install::Programs,
    port: u16,
) -> Result<Running> {
    // An epmd that outlived its node has no use any more.
    RabbitMq::end_left_epmd(dir).await?;
    let (log, pid_file) = (boot_log(dir), dir.join(EPMD_PID));
    let command = &mut node::epmd_command(programs, port);
    let running = Running::start(command, &log, pid_file, KILLED_BY, &config.lifetime)?;
    let listens = || ports::is_listened_on(port).then_some(());
    let listening = until(Duration::from_secs(10), listens).await;
    listening.context("epmd, which RabbitMQ needs, does not listen on 127.0.0.1")?;
    Ok(running)
}

fn left_epmd(dir: &Path) -> Option<Running> {
    Running::attach(dir.join(EPMD_PID), KILLED_BY)
}

/// The log of the start, until the node has read its settings.
fn boot_log(dir: &Path) -> PathBuf {
    dir.join("server.log")
}
