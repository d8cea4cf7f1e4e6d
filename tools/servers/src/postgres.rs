//! A private Postgres: one data directory, one port on 127.0.0.1, passwords always, no socket file.

mod cluster;
mod elsewhere;
mod encryption;
mod initdb;
mod psql;
mod standby;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use nix::sys::signal::Signal;

use crate::running::Running;
use crate::tail::with_log;
use crate::{Certificates, Lifetime, Process, background, install, ports, until};

pub use standby::{Follower, Replication};

const START_BOUND: Duration = Duration::from_secs(60);
const STOP_BOUND: Duration = Duration::from_secs(10);
/// Immediate shutdown: the server kills its children, and recovers at the next start.
const KILLED_BY: Signal = Signal::SIGQUIT;

#[derive(Clone)]
pub struct PostgresConfig {
    /// Holds the data, the log and the pid file. Created if missing.
    pub dir: PathBuf,
    pub port: u16,
    /// Created with its user if missing; `postgres` always exists.
    pub database: String,
    pub user: String,
    pub password: String,
    /// The password of the user `postgres`, set once when the data directory is made.
    pub superuser_password: String,
    /// None for a server that has no standby and is none.
    pub replication: Option<Replication>,
    /// Those of its connections; without them, they are plain.
    pub tls: Option<Certificates>,
    pub lifetime: Lifetime,
}

pub struct Postgres {
    config: PostgresConfig,
    running: Running,
}

impl Postgres {
    /// Starts the server and returns when it accepts connections to its database.
    pub async fn start(mut config: PostgresConfig) -> Result<Self> {
        config.dir = std::path::absolute(&config.dir)?;
        let pid_file = pid_file(&config.dir);
        if let Some(process) = Process::recorded(&pid_file) {
            let dir = config.dir.display();
            bail!("Postgres in {dir} runs already as pid {}", process.pid);
        }
        let newest = install::find()?.postgres;
        let (data, account) = cluster::prepare(&config, &newest).await?;
        let bin = cluster::version(&data).and_then(|it| install::postgres_of(&it));
        let bin = bin.unwrap_or(newest);

        let mut command = background(bin.join("postgres"));
        command.arg("-D").arg(&data);
        command.current_dir("/").env("LC_ALL", "C.UTF-8");
        if config.replication.is_some() {
            // A standby logs in to its primary.
            command.env("PGPASSWORD", &config.superuser_password);
            command.envs(encryption::copied_variables(&config));
        }
        account.lend_to(&mut command);
        let log = log_file(&config.dir);
        let lifetime = config.lifetime.clone();
        let running = Running::start(&mut command, &log, pid_file, KILLED_BY, &lifetime)?;
        let mut server = Self { config, running };
        let ready = server.ready().await;
        ready.map_err(|error| with_log(&error, &log))?;
        server.running.lives(&lifetime);
        Ok(server)
    }

    /// The server that was left running in the background in this directory, if any.
    pub fn attach(mut config: PostgresConfig) -> Result<Option<Self>> {
        config.dir = std::path::absolute(&config.dir)?;
        let running = Running::attach(pid_file(&config.dir), KILLED_BY);
        Ok(running.map(|running| Self { config, running }))
    }

    /// Returns when it accepts connections to its database.
    pub async fn ready(&self) -> Result<()> {
        let port = self.config.port;
        let settled = until(START_BOUND, || match self.is_running() {
            true if self.process().is_frozen() => Some(false),
            true => self.is_ready().then_some(true),
            false => Some(false),
        });
        let settled = settled.await;
        if let Some(frozen) = self.process().frozen() {
            bail!("Postgres on port {port} is {frozen}")
        }
        match settled {
            Some(true) => self.open().await,
            Some(false) => bail!("Postgres on port {port} ended while it started"),
            None => bail!("Postgres on port {port} is not ready after {START_BOUND:?}"),
        }
    }

    /// Makes its database, except on a standby, which gets it from its primary.
    async fn open(&self) -> Result<()> {
        match self.config.replication {
            Some(Replication::StandbyOf(_)) => return Ok(()),
            Some(Replication::Primary) if standby::is_standby(&cluster::data(&self.config.dir)) => {
                self.end_recovery().await?;
            }
            _ => {}
        }
        cluster::create_database(&self.config).await
    }

    /// Whether it accepts connections, by its own pid file.
    pub fn is_ready(&self) -> bool {
        let data = self.config.dir.join("data");
        let runs = self.is_running() && !self.process().is_frozen();
        runs && cluster::is_ready(&data, self.process().pid)
    }

    pub fn is_running(&self) -> bool {
        self.running.is_alive()
    }

    pub fn process(&self) -> Process {
        self.running.process
    }

    pub fn url(&self) -> String {
        let PostgresConfig { database, user, password, .. } = &self.config;
        self.url_of(user, password, database)
    }

    /// The URL of the superuser `postgres`, for the database of that name.
    pub fn superuser_url(&self) -> String {
        self.url_of("postgres", &self.config.superuser_password, "postgres")
    }

    fn url_of(&self, user: &str, password: &str, database: &str) -> String {
        let PostgresConfig { port, tls, .. } = &self.config;
        let tls = tls.as_ref().map(|tls| format!("?{}", tls.postgres_parameters(user)));
        let tls = tls.unwrap_or_default();
        format!("postgres://{user}:{password}@127.0.0.1:{port}/{database}{tls}")
    }

    pub fn log_file(&self) -> PathBuf {
        log_file(&self.config.dir)
    }

    /// A fast shutdown: closes connections and flushes everything; the data stays.
    pub async fn stop(&mut self) -> Result<()> {
        let asks = [(Signal::SIGINT, STOP_BOUND), (KILLED_BY, STOP_BOUND)];
        self.running.end(&asks).await
    }

    /// An immediate shutdown: connections are cut and nothing is flushed. Committed data is kept.
    pub async fn stop_at_once(&mut self) -> Result<()> {
        self.running.end(&[(KILLED_BY, STOP_BOUND)]).await
    }

    /// Like a crash: clients get no notice, nothing is flushed. Committed data is kept.
    pub async fn kill(&mut self) -> Result<()> {
        // Postgres does not start again before the last child has released the shared memory.
        let children = self.process().children();
        self.running.end(&[]).await?;
        for child in children {
            child.end(&[]).await?;
        }
        Ok(())
    }

    /// Stops it and its children where they are, as if its machine stood still.
    pub fn freeze(&self) {
        self.signal_all(Signal::SIGSTOP);
    }

    pub fn thaw(&self) {
        self.signal_all(Signal::SIGCONT);
    }

    fn signal_all(&self, signal: Signal) {
        for process in self.process().children().into_iter().chain([self.process()]) {
            process.signal(signal);
        }
    }

    /// Starts it again on the same data, in any state; it is stopped first if it runs.
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

    /// Deletes what `start` has made in `dir`; the server must not run.
    pub async fn delete(dir: &Path) -> Result<()> {
        let dir = std::path::absolute(dir)?;
        let runs = Process::recorded(&pid_file(&dir));
        ensure!(runs.is_none(), "Postgres in {} still runs", dir.display());
        initdb::end_left(&dir).await?;
        cluster::delete(&dir)
    }
}

fn pid_file(dir: &Path) -> PathBuf {
    dir.join("server.pid")
}

fn log_file(dir: &Path) -> PathBuf {
    dir.join("server.log")
}
