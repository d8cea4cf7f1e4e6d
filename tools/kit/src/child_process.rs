//! Runs a service, or the provider, as a process that ends with its owner.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use servers::{Lifetime, Process, Running, Watchdog, tail};
use tokio::time::{Instant, sleep};

use crate::service::Service;

const READY_WITHIN: Duration = Duration::from_secs(90);
const STOP_WITHIN: Duration = Duration::from_secs(12);
const LOOK_EVERY: Duration = Duration::from_millis(100);

pub struct ChildProcess {
    pub service: Service,
    process: Option<Running>,
    watchdog: Arc<Watchdog>,
}

impl ChildProcess {
    pub fn new(service: Service, watchdog: &Arc<Watchdog>) -> Self {
        Self { service, process: None, watchdog: Arc::clone(watchdog) }
    }

    pub fn start(&mut self) -> Result<()> {
        self.start_with(&[])
    }

    /// Starts the process once with these additional variables.
    pub fn start_with(&mut self, environment: &[(&str, &str)]) -> Result<()> {
        // An old handle, dropped after the start, would delete the new pid file.
        self.process = None;
        let mut command = self.service.command(environment)?;
        let (log, pid_file) = (self.service.log_file(), self.service.pid_file());
        let lifetime = Lifetime::Bound(Arc::clone(&self.watchdog));
        let process = Running::start(&mut command, &log, pid_file, Signal::SIGKILL, &lifetime)?;
        self.process = Some(process);
        Ok(())
    }

    /// `kill -9`, and gone.
    pub async fn kill(&mut self) -> Result<()> {
        self.end(&[]).await
    }

    /// Lets it finish its work.
    pub async fn stop(&mut self) -> Result<()> {
        self.end(&[(Signal::SIGTERM, STOP_WITHIN)]).await
    }

    async fn end(&mut self, asks: &[(Signal, Duration)]) -> Result<()> {
        self.running()?;
        match self.process.take() {
            Some(mut process) => process.end(asks).await,
            None => Ok(()),
        }
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.running()?.signal(signal);
        Ok(())
    }

    pub fn running(&self) -> Result<Process> {
        let running = self.process.as_ref().map(|one| one.process).filter(Process::is_alive);
        running.with_context(|| {
            let log = self.service.log_file();
            format!("{} has ended on its own; its log ends:\n{}", self.service.name, tail(&log, 15))
        })
    }

    /// Returns when the process is ready.
    pub async fn ready(&self) -> Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        while !self.service.is_ready().await {
            self.running()?;
            if Instant::now() >= deadline {
                let (name, log) = (self.service.name, tail(&self.service.log_file(), 15));
                bail!("{name} is not ready after {READY_WITHIN:?}; its log ends:\n{log}");
            }
            sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Whether it has a session with the broker, by its own health file.
    pub fn is_consuming(&self) -> bool {
        let note = std::fs::read(self.service.health_file()).ok();
        let note = note.and_then(|note| serde_json::from_slice::<serde_json::Value>(&note).ok());
        note.is_some_and(|note| note["consuming"] == true)
    }
}
