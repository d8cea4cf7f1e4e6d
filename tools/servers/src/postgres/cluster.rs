//! The data directory of a private Postgres: made once, configured at each start.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::initdb::{self, remove};
use super::{PostgresConfig, Replication, elsewhere, encryption, psql, standby};
use crate::account::Account;

/// For a small machine that has other things to do; nothing here gives up durability.
const SETTINGS: &str = "\
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 200
shared_buffers = 32MB
fsync = on
synchronous_commit = on
full_page_writes = on
wal_compression = on
max_wal_size = 512MB
checkpoint_timeout = 15min
max_parallel_workers_per_gather = 0
jit = off
log_line_prefix = '%m [%p] %u@%d '
log_min_messages = warning
";

const SETTINGS_FILE: &str = "quadrille.conf";

const CREATE: &str = r#"
\set QUIET on
\set user `printf %s "$NEW_USER"`
\set password `printf %s "$NEW_PASSWORD"`
\set database `printf %s "$NEW_DATABASE"`
SELECT format('CREATE ROLE %I LOGIN PASSWORD %L', :'user', :'password')
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'user') \gexec
SELECT format('CREATE DATABASE %I OWNER %I', :'database', :'user')
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'database') \gexec
"#;

/// Makes the data directory where there is none, writes its settings, and returns its path and its
/// account.
pub async fn prepare(config: &PostgresConfig, bin: &Path) -> Result<(PathBuf, Account)> {
    let dir = &config.dir;
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    elsewhere::check(dir)?;
    let link = data(dir);
    let account = match Account::of_owner(&link) {
        Some(account) => account,
        None => Account::for_postgres()?,
    };
    let data = match account.reaches(dir) {
        true => link,
        false => elsewhere::find(dir, account, &config.lifetime)?,
    };
    if let Some(watchdog) = config.lifetime.watchdog()
        && !data.starts_with(dir)
    {
        watchdog.deletes(&data)?;
        watchdog.deletes(&elsewhere::owner_file(&data))?;
        watchdog.deletes(&encryption::dir(dir))?;
    }
    encryption::prepare(config, account)?;
    let settings = data.join(SETTINGS_FILE);
    if let Some(Replication::StandbyOf(primary)) = config.replication {
        standby::copy(config, primary, &data, account, bin).await?;
    } else if !settings.exists() {
        // initdb may have died in the middle: the settings are written after it.
        initdb::run(config, &data, account, bin).await?;
        let mut main = OpenOptions::new().append(true).open(data.join("postgresql.conf"))?;
        writeln!(main, "include '{SETTINGS_FILE}'")?;
    }
    write_settings(config)?;
    account.give(&settings)?;
    Ok((data, account))
}

pub fn write_settings(config: &PostgresConfig) -> Result<()> {
    let file = data(&config.dir).join(SETTINGS_FILE);
    let (standby, encryption) = (standby::settings(config), encryption::settings(config));
    let text = format!("{SETTINGS}{standby}{encryption}port = {}\n", config.port);
    fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
}

/// The data directory, or a link to it.
pub fn data(dir: &Path) -> PathBuf {
    dir.join("data")
}

/// The major version of the server that has made these data.
pub fn version(data: &Path) -> Option<String> {
    fs::read_to_string(data.join("PG_VERSION")).ok()
}

/// The state that the server itself writes to its pid file.
pub fn is_ready(data: &Path, pid: u32) -> bool {
    let Ok(text) = fs::read_to_string(data.join("postmaster.pid")) else {
        return false;
    };
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    lines.first() == Some(&pid.to_string().as_str()) && lines.get(7) == Some(&"ready")
}

pub async fn create_database(config: &PostgresConfig) -> Result<()> {
    let PostgresConfig { user, password, database, .. } = config;
    let variables = [("NEW_USER", user), ("NEW_PASSWORD", password), ("NEW_DATABASE", database)];
    let variables = variables.map(|(name, value)| (name, value.as_str()));
    let made = psql::run(config, CREATE, &variables).await;
    made.map(drop).with_context(|| format!("cannot make the database {database}"))
}

/// Deletes the data, also where it is kept elsewhere, and then `dir`.
pub fn delete(dir: &Path) -> Result<()> {
    elsewhere::check_owner(dir)?;
    if let Ok(target) = fs::read_link(data(dir)) {
        remove(&encryption::dir(dir))?;
        remove(&target)?;
        fs::remove_file(elsewhere::owner_file(&target)).ok();
    }
    remove(dir)
}
