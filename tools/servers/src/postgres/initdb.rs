//! Makes a new data directory.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use super::PostgresConfig;
use crate::account::Account;
use crate::running::Running;
use crate::{background, tail};

const BOUND: Duration = Duration::from_secs(120);

pub async fn run(config: &PostgresConfig, data: &Path, account: Account, bin: &Path) -> Result<()> {
    make_empty(config, data, account).await?;
    let password_file = write_password(config, data, account)?;

    let mut command = background(bin.join("initdb"));
    command
        .args(["--no-sync", "--auth=scram-sha-256", "--username=postgres"])
        .args(["--encoding=UTF8", "--locale=C.UTF-8"])
        .arg(format!("--pwfile={}", password_file.display()))
        .arg(format!("--pgdata={}", data.display()))
        .env("TZ", "UTC")
        .current_dir("/");
    account.lend_to(&mut command);
    let log = config.dir.join("initdb.log");
    let (pid_file, lifetime) = (pid_file(&config.dir), &config.lifetime);
    let mut running = Running::start(&mut command, &log, pid_file, Signal::SIGKILL, lifetime)?;
    let status = running.ends_within(BOUND).await?;
    fs::remove_file(&password_file).ok();
    match status {
        Some(status) if status.success() => Ok(()),
        Some(_) => bail!("initdb failed; its log, {}, ends:\n{}", log.display(), tail(&log, 10)),
        None => bail!("initdb in {} is not done after {BOUND:?}", data.display()),
    }
}

/// Makes the directory anew: a run that died in the middle has left one that is refused.
pub async fn make_empty(config: &PostgresConfig, data: &Path, account: Account) -> Result<()> {
    end_left(&config.dir).await?;
    remove(data)?;
    DirBuilder::new()
        .mode(0o700)
        .create(data)
        .with_context(|| format!("cannot make {}", data.display()))?;
    account.give(data)
}

/// Ends an initdb, or a copy of a primary, whose parent has been killed.
pub async fn end_left(dir: &Path) -> Result<()> {
    match Running::attach(pid_file(dir), Signal::SIGKILL) {
        Some(mut left) => left.end(&[]).await,
        None => Ok(()),
    }
}

pub fn pid_file(dir: &Path) -> PathBuf {
    dir.join("initdb.pid")
}

/// Beside the data, where the account can read it.
fn write_password(config: &PostgresConfig, data: &Path, account: Account) -> Result<PathBuf> {
    let path = data.with_extension("password");
    fs::remove_file(&path).ok();
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    file.write_all(config.superuser_password.as_bytes())?;
    account.give(&path)?;
    Ok(path)
}

/// A file that is gone already needs no deleting.
pub fn remove(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot delete {}", dir.display()))
        }
        _ => Ok(()),
    }
}
