//! A whole system of its own, and what watches it: a collector, Prometheus, and node_exporter with
//! the job that verifies.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kit::api::Api;
use kit::system::{Servers, System};
use nix::sys::signal::Signal;
use serde_json::json;
use servers::{Lifetime, Monitor, Monitoring, Running, background, install, ports};
use sqlx::PgConnection;
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::collector::Collector;
use super::prometheus::Prometheus;
use super::scale::Scale;

/// As compose.yml and production have them.
const SENT_EVERY: Duration = Duration::from_secs(10);
const SCRAPED_EVERY: Duration = Duration::from_secs(10);
const LOOKBACK: Duration = Duration::from_secs(300);
const ORDER_DEADLINE: Duration = Duration::from_secs(600);
const VERIFIED_EVERY: Duration = Duration::from_secs(60);
const SAGA_WITHIN: Duration = Duration::from_secs(60);
const STOP_WITHIN: Duration = Duration::from_secs(5);

pub struct Watched {
    pub system: System,
    pub scale: Scale,
    pub collector: Collector,
    pub prometheus: Prometheus,
    /// The library that shifts a process' clock.
    pub faketime: PathBuf,
    _server: Monitor,
    exporter: Monitor,
    verifier: Running,
    home: PathBuf,
    /// A transaction that is left open.
    pub lock: Option<PgConnection>,
    /// Clients without a key. Dropping it stops them.
    pub strangers: JoinSet<()>,
}

impl Watched {
    /// Returns when everything is ready. `rabbitmq` holds another RabbitMQ than the machine's.
    pub async fn start(dir: &Path, scale: Scale, rabbitmq: Option<&Path>) -> Result<Self> {
        install::ensure_monitoring().await?;
        let faketime = install::faketime().await?;
        let collector = Collector::start(ports::free()?, scale.expiration()?).await?;
        let collects = format!("http://127.0.0.1:{}", collector.port);
        let sent_every = scale.of(SENT_EVERY).as_millis().to_string();
        let deadline = format!("{}ms", scale.of(ORDER_DEADLINE).as_millis());
        let metrics_port = ports::free()?.to_string();
        let rabbitmq = rabbitmq.map(|root| root.display().to_string()).unwrap_or_default();
        // Every metric exists with keys and certificates only.
        let told = [
            ("API_KEYS", "required"),
            ("TLS", "1"),
            ("GATEWAY", "http"),
            ("ORDER_DEADLINE", &deadline),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &collects),
            ("OTEL_METRIC_EXPORT_INTERVAL", &sent_every),
            ("RABBITMQ_METRICS_PORT", &metrics_port),
            ("RABBITMQ_ROOT", &rabbitmq),
        ];
        let servers = Servers::start(dir, &told).await?;
        let seen = servers.settings.clone();
        let system = System::start(servers, &[seen]).await?;
        let lifetime = Lifetime::Bound(Arc::clone(&system.servers.watchdog));
        let home = system.servers.settings.home.join("monitoring");
        std::fs::create_dir_all(home.join("textfiles"))?;
        std::fs::write(home.join("places.json"), serde_json::to_string(&system.endpoints)?)?;
        let exporter_port = ports::free()?;
        let exporter = node_exporter(&home, exporter_port, &lifetime).await?;
        let node = json!({
            "job_name": "verify",
            "static_configs": [{ "targets": [format!("127.0.0.1:{exporter_port}")] }],
        });
        let targets = [
            ("collector:8889", format!("127.0.0.1:{}", collector.port)),
            ("rabbitmq:15692", format!("127.0.0.1:{metrics_port}")),
        ];
        // JSON is YAML.
        std::fs::write(home.join("alerts.yml"), scale.alerts()?)?;
        std::fs::write(home.join(CONFIG), scale.config(&targets, &node)?)?;
        let what =
            Monitoring::Prometheus { config: home.join(CONFIG), lookback: scale.of(LOOKBACK) };
        let server =
            Monitor::start(&what, home.join("prometheus"), ports::free()?, &lifetime).await?;
        let prometheus = Prometheus::at(&server.url())?;
        let verifier = verifier(&home, scale, &lifetime)?;
        Ok(Self {
            system,
            scale,
            collector,
            prometheus,
            faketime,
            _server: server,
            exporter,
            verifier,
            home,
            lock: None,
            strangers: JoinSet::new(),
        })
    }

    pub fn scraped_every(&self) -> Duration {
        self.scale.of(SCRAPED_EVERY)
    }

    pub fn api(&self) -> Result<Api> {
        Api::of(&self.system.servers.settings)
    }

    pub fn database(&self, service: &str) -> Result<&str> {
        self.system.endpoints.database(service)
    }

    /// As an operator does it.
    pub async fn saga(&self, arguments: &[&str]) -> Result<()> {
        let mut command = Command::new(saga()?);
        command.args(arguments).arg("--places").arg(self.home.join("places.json"));
        let output = timeout(SAGA_WITHIN, command.kill_on_drop(true).output()).await;
        let output =
            output.with_context(|| format!("saga {} takes long", arguments.join(" ")))??;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "saga {} failed: {said}", arguments.join(" "));
        Ok(())
    }

    pub async fn stop_verifier(&mut self) -> Result<()> {
        self.verifier.end(&[(Signal::SIGTERM, STOP_WITHIN)]).await
    }

    pub fn start_verifier(&mut self) -> Result<()> {
        self.verifier = verifier(&self.home, self.scale, &self.lifetime())?;
        Ok(())
    }

    pub async fn stop_exporter(&mut self) -> Result<()> {
        self.exporter.stop().await
    }

    pub async fn start_exporter(&mut self) -> Result<()> {
        self.exporter = node_exporter(&self.home, self.exporter.port, &self.lifetime()).await?;
        Ok(())
    }

    fn lifetime(&self) -> Lifetime {
        Lifetime::Bound(Arc::clone(&self.system.servers.watchdog))
    }
}

const CONFIG: &str = "prometheus.yml";

async fn node_exporter(home: &Path, port: u16, lifetime: &Lifetime) -> Result<Monitor> {
    let what = Monitoring::NodeExporter { textfiles: home.join("textfiles") };
    Monitor::start(&what, home.join("node-exporter"), port, lifetime).await
}

/// The job of docs/operations.md.
fn verifier(home: &Path, scale: Scale, lifetime: &Lifetime) -> Result<Running> {
    let mut command = background(saga()?);
    command
        .args(["verify", "--since-last", "--json", "--watch"])
        .arg(scale.of(VERIFIED_EVERY).as_secs().to_string())
        .arg("--places")
        .arg(home.join("places.json"))
        .arg("--metrics")
        .arg(home.join("textfiles/saga_verify.prom"));
    let (log, pid_file) = (home.join("verify.log"), home.join("verify.pid"));
    Running::start(&mut command, &log, pid_file, Signal::SIGTERM, lifetime)
}

/// It is built beside this command.
fn saga() -> Result<PathBuf> {
    let this = std::env::current_exe().context("cannot tell where this command lies")?;
    let saga = this.with_file_name("saga");
    ensure!(
        saga.is_file(),
        "{} is not there: build it first, as `make alarms` does",
        saga.display()
    );
    Ok(saga)
}
