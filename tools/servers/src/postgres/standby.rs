//! Replicates a Postgres to a standby: physical, synchronous, by a slot.
//!
//! Whether commits wait for the standby is kept in a file beside the data, so that a restart does
//! not change it, and a copy of the data does not take it along.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use tokio::time::{Instant, sleep};

use super::{KILLED_BY, Postgres, PostgresConfig, cluster, encryption, initdb, psql};
use crate::account::Account;
use crate::running::Running;
use crate::{background, tail};

/// The standby's name for the primary, and its slot.
const NAME: &str = "standby";
const SYNCHRONOUS: &str = "synchronous";
/// Postgres' own mark of a standby. Here it also says that the copy is complete.
const SIGNAL: &str = "standby.signal";
const COPY_BOUND: Duration = Duration::from_secs(600);
const FOLLOW_BOUND: Duration = Duration::from_secs(30);
const PROMOTE_BOUND: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// A lost slot has kept less than its standby would need.
const MAKE_SLOT: &str = "\
SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots
WHERE slot_name = 'standby' AND wal_status = 'lost';
SELECT pg_create_physical_replication_slot('standby', true)
WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = 'standby');";

const FOLLOWER: &str = "\
SELECT state, sync_state = 'sync', COALESCE(
    GREATEST(pg_wal_lsn_diff(pg_current_wal_flush_lsn(), flush_lsn), 0), 0)::bigint
FROM pg_stat_replication WHERE application_name = 'standby';";

/// A server's part in a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replication {
    /// It can have a standby. A standby that is started so is promoted.
    Primary,
    /// It follows the primary on this port.
    StandbyOf(u16),
}

/// What a primary says of its standby.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Follower {
    /// `streaming` once it has caught up.
    pub state: String,
    pub is_synchronous: bool,
    /// What it has not written to disk yet.
    pub lag_bytes: u64,
}

impl Postgres {
    /// Starts a standby of this server and returns when commits wait for it. Data that cannot
    /// follow, of an old primary or of a standby that was away too long, are copied anew.
    pub async fn start_standby(&self, mut config: PostgresConfig) -> Result<Self> {
        config.replication = Some(Replication::StandbyOf(self.config.port));
        self.sql(MAKE_SLOT).await?;
        let mut standby = match Self::attach(config.clone())? {
            Some(standby) => standby,
            None => Self::start(config.clone()).await?,
        };
        if !self.is_followed_within(FOLLOW_BOUND).await {
            standby.stop_at_once().await?;
            let data = cluster::data(&standby.config.dir);
            fs::remove_file(data.join(SIGNAL)).ok();
            standby = Self::start(config).await?;
            let bound = FOLLOW_BOUND;
            ensure!(self.is_followed_within(bound).await, "the standby does not follow");
        }
        self.wait_for_standby(true).await?;
        Ok(standby)
    }

    /// Makes commits wait for the standby, or stops that.
    pub async fn wait_for_standby(&self, waits: bool) -> Result<()> {
        let mark = self.config.dir.join(SYNCHRONOUS);
        match waits {
            true => fs::write(&mark, "").with_context(|| format!("cannot write {mark:?}"))?,
            false => forget(&self.config.dir),
        }
        self.reload()?;
        let deadline = Instant::now() + FOLLOW_BOUND;
        while waits && self.follower().await?.is_none_or(|follower| !follower.is_synchronous) {
            ensure!(Instant::now() < deadline, "the standby does not become synchronous");
            sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }

    /// Makes a standby a primary, whose commits wait for no standby. The old one must have ended.
    pub async fn promote(&mut self) -> Result<()> {
        forget(&self.config.dir);
        self.config.replication = Some(Replication::Primary);
        self.reload()?;
        self.end_recovery().await
    }

    pub(super) async fn end_recovery(&self) -> Result<()> {
        let seconds = PROMOTE_BOUND.as_secs();
        let promoted = self.sql(&format!("SELECT pg_promote(true, {seconds})")).await?;
        ensure!(promoted == "t", "the standby is not promoted after {seconds} s");
        Ok(())
    }

    /// The standby that is connected, if any.
    pub async fn follower(&self) -> Result<Option<Follower>> {
        let row = self.sql(FOLLOWER).await?;
        let mut fields = row.split('|');
        let (Some(state), Some(is), Some(lag)) = (fields.next(), fields.next(), fields.next())
        else {
            return Ok(None);
        };
        let (state, is_synchronous) = (state.to_owned(), is == "t");
        Ok(Some(Follower { state, is_synchronous, lag_bytes: lag.parse().unwrap_or(0) }))
    }

    /// Its part now, where it has one.
    pub fn role(&self) -> Option<&'static str> {
        let is_standby = is_standby(&cluster::data(&self.config.dir));
        self.config.replication.map(|_| if is_standby { "standby" } else { "primary" })
    }

    /// Runs SQL as the superuser, and returns its rows, their fields separated by `|`.
    pub async fn sql(&self, statement: &str) -> Result<String> {
        psql::run(&self.config, statement, &[]).await
    }

    async fn is_followed_within(&self, bound: Duration) -> bool {
        let deadline = Instant::now() + bound;
        loop {
            let follower = self.follower().await.ok().flatten();
            if follower.is_some_and(|follower| follower.state == "streaming") {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    fn reload(&self) -> Result<()> {
        cluster::write_settings(&self.config)?;
        self.process().signal(Signal::SIGHUP);
        Ok(())
    }
}

impl PostgresConfig {
    /// Whether commits of the server in this directory wait for a standby. It may be stopped.
    pub fn waits_for_standby(&self) -> bool {
        self.dir.join(SYNCHRONOUS).exists()
    }
}

/// For `quadrille.conf`; the password is in the environment.
pub fn settings(config: &PostgresConfig) -> String {
    let Some(replication) = config.replication else {
        return "wal_level = minimal\nmax_wal_senders = 0\n".to_owned();
    };
    let shared = "wal_level = replica\nmax_wal_senders = 4\nhot_standby = on\n\
                  max_slot_wal_keep_size = 1GB\nwal_receiver_status_interval = 1s\n\
                  wal_sender_timeout = 10s\nwal_receiver_timeout = 10s\n";
    shared.to_owned()
        + &match replication {
            Replication::Primary if config.waits_for_standby() => {
                format!("synchronous_standby_names = '{NAME}'\n")
            }
            Replication::Primary => String::new(),
            Replication::StandbyOf(port) => format!(
                "primary_conninfo = 'host=127.0.0.1 port={port} user=postgres \
                 application_name={NAME}'\nprimary_slot_name = '{NAME}'\n"
            ),
        }
}

/// Whether the data are those of a standby, by the mark that is set when the copy is complete.
pub fn is_standby(data: &Path) -> bool {
    data.join(SIGNAL).exists()
}

/// Copies the primary's data, where there are no data of a standby.
pub async fn copy(
    config: &PostgresConfig,
    port: u16,
    data: &Path,
    account: Account,
    bin: &Path,
) -> Result<()> {
    forget(&config.dir);
    if is_standby(data) {
        return Ok(());
    }
    initdb::make_empty(config, data, account).await?;
    let mut command = background(bin.join("pg_basebackup"));
    command
        .args(["--host=127.0.0.1", "--username=postgres", "--no-password"])
        .args(["--checkpoint=fast", "--wal-method=stream"])
        .args([format!("--port={port}"), format!("--slot={NAME}")])
        .arg(format!("--pgdata={}", data.display()))
        .env("PGPASSWORD", &config.superuser_password)
        .envs(encryption::copied_variables(config))
        .current_dir("/");
    account.lend_to(&mut command);
    let log = config.dir.join("copy.log");
    let (pid_file, lifetime) = (initdb::pid_file(&config.dir), &config.lifetime);
    let mut running = Running::start(&mut command, &log, pid_file, KILLED_BY, lifetime)?;
    match running.ends_within(COPY_BOUND).await? {
        Some(status) if status.success() => {}
        Some(_) => {
            bail!("cannot copy the primary; the log, {}, ends:\n{}", log.display(), tail(&log, 10))
        }
        None => bail!("the primary's data are not copied after {COPY_BOUND:?}"),
    }
    let signal = data.join(SIGNAL);
    fs::write(&signal, "").with_context(|| format!("cannot write {}", signal.display()))?;
    account.give(&signal)
}

fn forget(dir: &Path) {
    fs::remove_file(dir.join(SYNCHRONOUS)).ok();
}
