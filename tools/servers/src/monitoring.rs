//! A private Prometheus, and a private node_exporter for the files of its textfile collector, on
//! 127.0.0.1.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;

use crate::running::Running;
use crate::tail::with_log;
use crate::{Lifetime, background, install, ports, until};

const START_BOUND: Duration = Duration::from_secs(30);
const STOP_BOUND: Duration = Duration::from_secs(5);
const KILLED_BY: Signal = Signal::SIGTERM;

/// What to start.
pub enum Monitoring {
    Prometheus {
        /// Its configuration file; relative paths in it begin there.
        config: PathBuf,
        /// For how long a sample without a successor is the current value.
        lookback: Duration,
    },
    NodeExporter {
        /// The directory with the files `*.prom`.
        textfiles: PathBuf,
    },
}

pub struct Monitor {
    running: Running,
    pub port: u16,
}

impl Monitor {
    /// Starts it with its data, log and pid file in `dir`, and returns when it listens.
    pub async fn start(
        what: &Monitoring,
        dir: PathBuf,
        port: u16,
        lifetime: &Lifetime,
    ) -> Result<Self> {
        let dir = std::path::absolute(dir)?;
        fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let mut command = what.command()?;
        command.arg(format!("--web.listen-address=127.0.0.1:{port}")).current_dir(&dir);
        let (log, pid_file) = (dir.join("server.log"), dir.join("server.pid"));
        let running = Running::start(&mut command, &log, pid_file, KILLED_BY, lifetime)?;
        let mut server = Self { running, port };
        let ready = server.ready().await;
        ready.map_err(|error| with_log(&error, &log))?;
        server.running.lives(lifetime);
        Ok(server)
    }

    async fn ready(&self) -> Result<()> {
        let listens = until(START_BOUND, || match self.running.is_alive() {
            true => ports::is_listened_on(self.port).then_some(true),
            false => Some(false),
        });
        ensure!(listens.await == Some(true), "nothing listens on port {}", self.port);
        Ok(())
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub async fn stop(&mut self) -> Result<()> {
        self.running.end(&[(KILLED_BY, STOP_BOUND)]).await
    }
}

impl Monitoring {
    fn command(&self) -> Result<Command> {
        Ok(match self {
            Self::Prometheus { config, lookback } => {
                let mut command = background(install::prometheus()?);
                command
                    .arg(format!("--config.file={}", config.display()))
                    .arg(format!("--query.lookback-delta={}ms", lookback.as_millis()))
                    .args(["--storage.tsdb.path=data", "--log.level=warn"]);
                command
            }
            Self::NodeExporter { textfiles } => {
                let mut command = background(install::node_exporter()?);
                command
                    .args(["--collector.disable-defaults", "--collector.textfile"])
                    .arg(format!("--collector.textfile.directory={}", textfiles.display()));
                command
            }
        })
    }
}
