//! The directory in which `up` keeps everything, and the servers that live in it.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use servers::{Lifetime, PostgresConfig, RabbitConfig};

use crate::settings::{Database, Settings};

/// Marks a directory as made by us, and so as ours to delete.
const MARK: &str = ".saga";
const MARK_TEXT: &str = "`saga up` made this directory, and `saga down` deletes it.\n";

pub struct Home<'a> {
    settings: &'a Settings,
}

impl<'a> Home<'a> {
    pub fn new(settings: &'a Settings) -> Self {
        Self { settings }
    }

    fn dir(&self) -> &Path {
        &self.settings.home
    }

    pub fn is_there(&self) -> bool {
        self.dir().join(MARK).exists()
    }

    /// Makes the directory. Somebody else's, with their things in it, is not taken over.
    pub fn make(&self) -> Result<()> {
        let dir = self.dir();
        if self.is_there() {
            return Ok(());
        }
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let mut entries = fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
        ensure!(
            entries.next().is_none(),
            "SAGA_HOME={} holds other things already: name a directory that is new or empty, \
             since `saga down` deletes it",
            dir.display()
        );
        fs::write(dir.join(MARK), MARK_TEXT)
            .with_context(|| format!("cannot write into {}", dir.display()))
    }

    /// Held while something is started or stopped: two at once would undo each other's work.
    pub fn lock(&self) -> Result<File> {
        let file = File::open(self.dir().join(MARK))
            .with_context(|| format!("cannot read {}", self.dir().display()))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => {
                bail!("another `saga` is starting or stopping this: wait until it is done")
            }
            Err(TryLockError::Error(error)) => Err(error).context("cannot lock SAGA_HOME"),
        }
    }

    pub fn postgres_dir(&self, database: &Database) -> PathBuf {
        self.dir().join(format!("postgres-{}", database.service))
    }

    pub fn rabbitmq_dir(&self) -> PathBuf {
        self.dir().join("rabbitmq")
    }

    pub fn postgres(&self, database: &Database) -> PostgresConfig {
        PostgresConfig {
            dir: self.postgres_dir(database),
            port: database.port,
            database: database.name.to_owned(),
            user: database.name.to_owned(),
            password: database.name.to_owned(),
            superuser_password: "postgres".to_owned(),
            lifetime: Lifetime::Detached,
        }
    }

    pub fn rabbitmq(&self) -> RabbitConfig {
        RabbitConfig {
            dir: self.rabbitmq_dir(),
            port: self.settings.rabbitmq_port,
            management_port: self.settings.rabbitmq_management_port,
            user: self.settings.rabbitmq_user.clone(),
            password: self.settings.rabbitmq_password.clone(),
            definitions: Value::Null,
            lifetime: Lifetime::Detached,
        }
    }

    /// Deletes everything; nothing may run any more.
    pub fn delete(&self) -> Result<()> {
        for database in &self.settings.databases {
            servers::Postgres::delete(&self.postgres_dir(database))?;
        }
        let dir = self.dir();
        fs::remove_dir_all(dir).with_context(|| format!("cannot delete {}", dir.display()))
    }
}
