//! A private Postgres: one data directory, one port on 127.0.0.1, passwords always, no socket file.

mod cluster;

use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;

use crate::{Lifetime, Process, background, install, ports, spawn, tail, until};

const START_BOUND: Duration = Duration::from_secs(60);
const STOP_BOUND: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub struct PostgresConfig {
    /// Holds the data, the log and the pid file. Made when it is not there.
    pub dir: PathBuf,
    pub port: u16,
    /// Made with its user when it is not there; `postgres` is always there.
    pub database: String,
    pub user: String,
    pub password: String,
    /// That of the user `postgres`, set once when the data directory is made.
    pub superuser_password: String,
    pub lifetime: Lifetime,
}

pub struct Postgres {
    config: PostgresConfig,
    process: Process,
    /// What we have to wait for, where we started it.
    child: Option<Child>,
}

impl Postgres {
    /// Starts the server and returns when it accepts connections to its database.
    pub async fn start(mut config: PostgresConfig) -> Result<Self> {
        config.dir = std::path::absolute(&config.dir)?;
        let pid_file = pid_file(&config.dir);
        if let Some(process) = Process::recorded(&pid_file) {
            bail!("Postgres in {} runs already as pid {}", config.dir.display(), process.pid);
        }
        let bin = install::find()?.postgres;
        let (data, account) = cluster::prepare(&config, &bin).await?;

        let mut command = background(bin.join("postgres"));
        command.arg("-D").arg(&data).current_dir("/").env("LC_ALL", "C.UTF-8");
        account.lend_to(&mut command);
        let (process, child) = spawn(&mut command, &log_file(&config.dir))?;
        let mut server = Self { config, process, child: Some(child) };
        match server.become_ready(&data, &bin, &pid_file).await {
            Ok(()) => Ok(server),
            Err(error) => {
                server.kill().await;
                Err(error.context(format!("its log ends:\n{}", tail(&server.log_file(), 10))))
            }
        }
    }

    /// The server that was left running in the background in this directory, if any.
    pub fn attach(mut config: PostgresConfig) -> Result<Option<Self>> {
        config.dir = std::path::absolute(&config.dir)?;
        let process = Process::recorded(&pid_file(&config.dir));
        Ok(process.map(|process| Self { config, process, child: None }))
    }

    async fn become_ready(&mut self, data: &Path, bin: &Path, pid_file: &Path) -> Result<()> {
        self.process.record(pid_file)?;
        if let Some(watchdog) = self.config.lifetime.watchdog() {
            // Immediate shutdown: the server ends its children with itself, and recovers next time.
            watchdog.ends(self.process, Signal::SIGQUIT)?;
        }
        let (pid, port) = (self.process.pid, self.config.port);
        let settled = until(START_BOUND, || match self.process.is_alive() {
            true => cluster::is_ready(data, pid).then_some(true),
            false => Some(false),
        });
        match settled.await {
            Some(true) => cluster::create_database(&self.config, bin).await,
            Some(false) => bail!("Postgres on port {port} ended while it started"),
            None => bail!("Postgres on port {port} is not ready after {START_BOUND:?}"),
        }
    }

    pub fn url(&self) -> String {
        let PostgresConfig { port, database, user, password, .. } = &self.config;
        format!("postgres://{user}:{password}@127.0.0.1:{port}/{database}")
    }

    /// As the superuser `postgres`, to the database of that name.
    pub fn superuser_url(&self) -> String {
        let PostgresConfig { port, superuser_password, .. } = &self.config;
        format!("postgres://postgres:{superuser_password}@127.0.0.1:{port}/postgres")
    }

    pub fn process(&self) -> Process {
        self.process
    }

    pub fn log_file(&self) -> PathBuf {
        log_file(&self.config.dir)
    }

    pub fn is_running(&self) -> bool {
        self.process.is_alive()
    }

    /// Ends connections, writes everything down and ends; the data stays.
    pub async fn stop(&mut self) -> Result<()> {
        let asks = [(Signal::SIGINT, STOP_BOUND), (Signal::SIGQUIT, Duration::from_secs(6))];
        self.process.end(&asks).await;
        self.ended()
    }

    /// As a crash would: no word to its clients, nothing flushed. What has committed is kept.
    pub async fn kill(&mut self) {
        // Postgres does not start again before the last child has let go of the shared memory.
        let children = self.process.children();
        self.process.end(&[]).await;
        for child in children {
            child.end(&[]).await;
        }
        self.ended().ok();
    }

    /// Starts it again on the same data, wherever it has got to; it is stopped first if it runs.
    pub async fn restart(&mut self) -> Result<()> {
        if self.is_running() {
            self.stop().await?;
        }
        let config = self.config.clone();
        let port = config.port;
        ensure!(ports::is_free(port), "{}", ports::complaint(port, "of this Postgres"));
        *self = Self::start(config).await?;
        Ok(())
    }

    /// Deletes what `start` has made in `dir`, of a server that does not run.
    pub fn delete(dir: &Path) -> Result<()> {
        let dir = std::path::absolute(dir)?;
        let runs = Process::recorded(&pid_file(&dir));
        ensure!(runs.is_none(), "Postgres in {} still runs", dir.display());
        cluster::delete(&dir)
    }

    fn ended(&mut self) -> Result<()> {
        ensure!(!self.is_running(), "Postgres, pid {}, does not end", self.process.pid);
        if let Some(mut child) = self.child.take() {
            child.wait().context("cannot wait for Postgres to end")?;
        }
        std::fs::remove_file(pid_file(&self.config.dir)).ok();
        Ok(())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if self.config.lifetime.watchdog().is_none() || !self.is_running() {
            return;
        }
        self.process.signal(Signal::SIGQUIT);
        if let Some(child) = &mut self.child {
            child.wait().ok();
        }
    }
}

fn pid_file(dir: &Path) -> PathBuf {
    dir.join("server.pid")
}

fn log_file(dir: &Path) -> PathBuf {
    dir.join("server.log")
}
