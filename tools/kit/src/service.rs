//! Runs a copy of one of the four services, or the mock gateway, as a process in the background.

use std::env;
use std::fs;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use servers::{Process, background, spawn};
use tokio::process::Command;
use tokio::time::timeout;

use crate::keys;
use crate::settings::{COPIES, Database, Gateway, Listener, Settings};

const STOP_BOUND: Duration = Duration::from_secs(10);
pub const MOCK_GATEWAY: &str = "mock-gateway";
/// What a service must not inherit: everybody of this user can read a process' environment.
const SECRETS: [&str; 4] = ["DATABASE_URL", "AMQP_URL", "OPERATOR_AMQP_URL", "RABBITMQ_PASSWORD"];
const PROBE_BOUND: Duration = Duration::from_secs(5);

pub struct Service {
    /// Its own, also where several copies of a service run.
    pub name: &'static str,
    /// What it is a copy of.
    pub service: &'static str,
    pub port: Option<u16>,
    /// Answers `/readyz`, where it has a port.
    url: Option<String>,
    /// To verify it by.
    ca_file: Option<PathBuf>,
    /// Sets the port.
    pub variable: &'static str,
    binary: PathBuf,
    environment: Vec<(String, String)>,
    /// By the variable that would set it; the service reads it from a file.
    secrets: Vec<(&'static str, String)>,
    home: PathBuf,
}

impl Service {
    /// All four, with their environment variables, two copies of each in a cluster; then those
    /// beside the saga, one copy of each.
    pub fn all(settings: &Settings) -> Result<Vec<Self>> {
        let mut all = Vec::new();
        let (saga, add_ons) = settings.databases.split_at(COPIES.len());
        for (database, copies) in saga.iter().zip(COPIES) {
            let service = database.service;
            let listeners =
                settings.cluster.orders.map(|order| (service == "order").then_some(order));
            if settings.is_cluster {
                for (name, listener) in copies.into_iter().zip(listeners) {
                    all.push(Self::copy(settings, database, name, listener)?);
                }
            } else {
                let listener = (settings.order_http_port, "ORDER_HTTP_PORT");
                let listener = (service == "order").then_some(listener);
                all.push(Self::copy(settings, database, service, listener)?);
            }
        }
        for database in add_ons {
            all.push(Self::copy(settings, database, database.service, None)?);
        }
        Ok(all)
    }

    fn copy(
        settings: &Settings,
        database: &Database,
        name: &'static str,
        listener: Option<Listener>,
    ) -> Result<Self> {
        let service = database.service;
        let health_file = settings.home.join("health").join(name);
        // This tool's own variables come last, and so override the others.
        let mut environment: Vec<(String, String)> = settings.dotenv.clone().into_iter().collect();
        environment.push(("HEALTH_FILE".to_owned(), health_file.display().to_string()));
        let mut secrets = vec![
            ("DATABASE_URL", settings.service_database_url(database)),
            ("AMQP_URL", settings.service_amqp_urls(service).join(",")),
        ];
        if let Some((port, _)) = listener {
            environment.push(("HTTP_ADDR".to_owned(), format!("127.0.0.1:{port}")));
            environment.extend(page(settings));
            environment.extend(settings.order_variables());
            environment.push(("API_KEYS".to_owned(), keys::setting(settings).to_owned()));
            if settings.is_demo {
                secrets.push(("OPERATOR_AMQP_URL", settings.amqp_url()));
            }
        }
        if settings.is_cluster && listener.is_some() {
            environment.push(("TRUSTED_PROXIES".to_owned(), "127.0.0.1/32".to_owned()));
        }
        if service == "payment" {
            environment.extend(provider(settings));
        }
        let (binary, home) = (binary(&format!("{service}-service"))?, settings.home.clone());
        let (port, variable) = listener.unzip();
        let variable = variable.unwrap_or_default();
        for (variable, _) in &secrets {
            let file = secret_file(&home, name, variable);
            environment.push((format!("{variable}_FILE"), file.display().to_string()));
        }
        let url = port.map(|port| settings.order_url_at(port));
        let ca_file = settings.order_authority();
        Ok(Self { name, service, port, url, ca_file, variable, binary, environment, secrets, home })
    }

    /// The mock payment provider. Its books are stored with the other data.
    pub fn mock_gateway(settings: &Settings) -> Result<Self> {
        let (port, home) = (settings.mock_gateway_port, settings.home.clone());
        let ledger = home.join(MOCK_GATEWAY).join("ledger");
        let mut environment: Vec<(String, String)> = settings.dotenv.clone().into_iter().collect();
        environment.extend([
            ("MOCK_GATEWAY_ADDR".to_owned(), format!("127.0.0.1:{port}")),
            ("MOCK_GATEWAY_LEDGER".to_owned(), ledger.display().to_string()),
        ]);
        Ok(Self {
            name: MOCK_GATEWAY,
            service: MOCK_GATEWAY,
            port: Some(port),
            url: Some(format!("http://127.0.0.1:{port}")),
            ca_file: None,
            variable: "MOCK_GATEWAY_PORT",
            binary: binary(MOCK_GATEWAY)?,
            environment,
            secrets: Vec::new(),
            home,
        })
    }

    /// The four services, and the mock gateway if it is used.
    pub fn wanted(settings: &Settings) -> Result<Vec<Self>> {
        let mut wanted = Self::all(settings)?;
        if settings.gateway == Gateway::Http {
            wanted.push(Self::mock_gateway(settings)?);
        }
        Ok(wanted)
    }

    /// Its binary must have been built.
    pub fn check_binary(&self) -> Result<()> {
        ensure!(
            self.binary.is_file(),
            "{} is not there: build it first, as `make up` does",
            self.binary.display()
        );
        Ok(())
    }

    /// Runs the binary of this directory from now on, or the one beside this command.
    pub fn take_from(&mut self, dir: Option<&Path>) -> Result<()> {
        let beside = binary(&format!("{}-service", self.service))?;
        self.binary = match (dir, beside.file_name()) {
            (Some(dir), Some(name)) => dir.join(name),
            _ => beside,
        };
        self.check_binary()
    }

    pub fn is_of(&self, dir: &Path) -> bool {
        self.binary.parent() == Some(dir)
    }

    pub fn log_file(&self) -> PathBuf {
        self.home.join("logs").join(format!("{}.log", self.name))
    }

    pub fn pid_file(&self) -> PathBuf {
        self.home.join("pids").join(self.name)
    }

    pub fn health_file(&self) -> PathBuf {
        self.home.join("health").join(self.name)
    }

    pub fn running(&self) -> Option<Process> {
        Process::recorded(&self.pid_file())
    }

    /// Whether it was started, and has ended without a stop.
    pub fn has_died(&self) -> bool {
        self.pid_file().exists() && self.running().is_none()
    }

    /// Whether its binary is newer than the running process.
    pub fn is_outdated(&self) -> bool {
        let runs = self
            .running()
            .and_then(|process| fs::read_link(format!("/proc/{}/exe", process.pid)).ok());
        runs.is_some_and(|binary| binary.display().to_string().ends_with(" (deleted)"))
    }

    /// Starts it in the background, where it outlives this process.
    pub fn start(&self) -> Result<Process> {
        let (process, mut child) = spawn(&mut self.command(&[])?, &self.log_file())?;
        if let Err(unknown) = process.record(&self.pid_file()) {
            // Nothing else would find it, to stop it.
            child.kill().ok();
            child.wait().ok();
            return Err(unknown);
        }
        Ok(process)
    }

    /// A command that starts it, with these additional variables.
    pub fn command(&self, environment: &[(&str, &str)]) -> Result<std::process::Command> {
        self.check_binary()?;
        for file in [self.pid_file(), self.health_file()] {
            let directory = file.parent().context("it lies in a directory")?;
            fs::create_dir_all(directory)
                .with_context(|| format!("cannot make {}", directory.display()))?;
            // The last run's health file is not valid for this one.
            fs::remove_file(file).ok();
        }
        for (variable, value) in &self.secrets {
            write_secret(&secret_file(&self.home, self.name, variable), value, 0o600)?;
        }
        let mut command = background(&self.binary);
        command.arg("run").envs(self.environment.iter().cloned());
        for secret in SECRETS {
            command.env_remove(secret);
        }
        command.envs(environment.iter().copied());
        Ok(command)
    }

    /// Whether it is ready: a service with a port is asked by HTTP, the others by their binary.
    pub async fn is_ready(&self) -> bool {
        if self.running().is_none_or(|process| process.is_frozen()) {
            return false;
        }
        let probe = async {
            match &self.url {
                Some(url) => self.answers(url).await.unwrap_or(false),
                None => self.passes_healthcheck().await,
            }
        };
        timeout(PROBE_BOUND, probe).await.unwrap_or(false)
    }

    async fn answers(&self, url: &str) -> Result<bool> {
        let client = https::client(url, self.ca_file.as_deref())?.no_proxy().build()?;
        let answer = client.get(format!("{url}/readyz")).send().await?;
        Ok(answer.status().is_success())
    }

    async fn passes_healthcheck(&self) -> bool {
        let output = self.healthcheck().output().await;
        output.is_ok_and(|output| output.status.success())
    }

    /// The reason that it gives for not being ready; `None` where it gives none.
    pub async fn trouble(&self) -> Option<String> {
        if let Some(frozen) = self.running()?.frozen() {
            return Some(frozen);
        }
        self.said(false).await
    }

    /// Why some of its work waits, though it is ready.
    pub async fn held_up(&self) -> Option<String> {
        self.said(true).await
    }

    /// What its probe says, where it is as successful.
    async fn said(&self, success: bool) -> Option<String> {
        let output = timeout(PROBE_BOUND, self.healthcheck().output()).await.ok()?.ok()?;
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.trim();
        let said = said.split_once("-service: ").map_or(said, |(_, reason)| reason);
        (output.status.success() == success && !said.is_empty()).then(|| said.to_owned())
    }

    fn healthcheck(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg("healthcheck").envs(self.environment.iter().cloned());
        for secret in SECRETS {
            command.env_remove(secret);
        }
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// Lets it finish its work; false when it did not run.
    pub async fn stop(&self) -> Result<bool> {
        let running = self.running();
        if let Some(process) = running {
            let ended = process.end(&[(Signal::SIGTERM, STOP_BOUND)]).await;
            ended.with_context(|| format!("cannot stop {}", self.name))?;
        }
        fs::remove_file(self.pid_file()).ok();
        Ok(running.is_some())
    }
}

/// The provider that payment calls; none, where an operator has set one.
fn provider(settings: &Settings) -> Option<(String, String)> {
    const NAME: &str = "PAYMENT_GATEWAY_URL";
    let named = env::var(NAME).ok().or_else(|| settings.dotenv.get(NAME).cloned());
    let is_named = named.is_some_and(|url| !url.is_empty());
    let simulated = || (!is_named).then(|| "simulated".to_owned());
    Some((NAME.to_owned(), settings.mock_gateway_url().or_else(simulated)?))
}

/// The live page's variables.
fn page(settings: &Settings) -> [(String, String); 3] {
    const TRAFFIC: &str = "DEMO_TRAFFIC";
    let demo = if settings.is_demo { "1" } else { "0" };
    let traffic = env::var(TRAFFIC).ok().or_else(|| settings.dotenv.get(TRAFFIC).cloned());
    [
        ("DEMO".to_owned(), demo.to_owned()),
        (TRAFFIC.to_owned(), traffic.unwrap_or_else(|| "1".to_owned())),
        ("RABBITMQ_PAGE".to_owned(), settings.management_url()),
    ]
}

fn secret_file(home: &Path, name: &str, variable: &str) -> PathBuf {
    let kind = variable.to_lowercase().replace('_', "-");
    home.join("secrets").join(format!("{name}-{kind}"))
}

/// In a directory for this user only, and whole at every moment: a running service reads it again.
pub fn write_secret(file: &Path, value: &str, mode: u32) -> Result<()> {
    let write = || {
        let directory = file.parent().unwrap_or(file);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let new = file.with_extension("new");
        fs::remove_file(&new).or_else(|why| match why.kind() {
            ErrorKind::NotFound => Ok(()),
            _ => Err(why),
        })?;
        let mut written =
            fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&new)?;
        written.write_all(value.as_bytes())?;
        written.sync_all()?;
        fs::rename(&new, file)
    };
    write().with_context(|| format!("cannot write {}", file.display()))
}

/// The services' binaries are built and installed beside this command.
fn binary(name: &str) -> Result<PathBuf> {
    let this = env::current_exe().context("cannot tell where this command lies")?;
    Ok(this.with_file_name(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_process_that_cannot_be_recorded_is_not_left_running() {
        let home = tempfile::tempdir().unwrap();
        let binary = home.path().join("binary");
        fs::write(&binary, "#!/bin/sh\nexec sleep 60\n").unwrap();
        fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).unwrap();
        let settings = Settings::private(home.path(), &[]).unwrap();
        let service = Service { binary, ..Service::mock_gateway(&settings).unwrap() };
        fs::create_dir_all(service.pid_file()).unwrap();
        let this = Process::of(std::process::id()).unwrap();
        let failed = service.start().expect_err("its pid file is a directory").to_string();
        assert!(failed.contains("cannot write"), "{failed}");
        let is_ours = |one: &Process| one.name().is_some_and(|name| name == "sleep");
        let left = this.children().into_iter().find(is_ours);
        left.inspect(|left| left.signal(Signal::SIGKILL));
        assert_eq!(left, None);
    }
}
