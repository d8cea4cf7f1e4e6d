//! Manages the directory in which `up` keeps everything, and the servers in it.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use servers::{Lifetime, Postgres, PostgresConfig, RabbitConfig, RabbitMq};

use crate::definitions::{logins, topology};
use crate::settings::{Database, Settings, VHOST};

/// Marks a directory as made by us, so that we may delete it.
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

    /// Makes the directory. A directory with other content is not taken over.
    pub fn make(&self) -> Result<()> {
        let dir = self.dir();
        if self.is_there() {
            return Ok(());
        }
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let mut entries =
            fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
        ensure!(
            entries.next().is_none(),
            "SAGA_HOME={} contains other files: choose a new or empty directory, \
             since `saga down` deletes it",
            dir.display()
        );
        fs::write(dir.join(MARK), MARK_TEXT)
            .with_context(|| format!("cannot write into {}", dir.display()))
    }

    /// Held while anything is started or stopped: two runs at once would undo each other's work.
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

    /// The servers that run.
    pub fn servers(&self) -> Result<Servers> {
        let databases = self.settings.databases.iter();
        let postgres = databases.map(|database| Postgres::attach(self.postgres(database)));
        Ok(Servers {
            postgres: postgres.collect::<Result<_>>()?,
            rabbitmq: RabbitMq::attach(self.rabbitmq())?,
        })
    }

    /// Records the ports and the provider in use, and fails if they are changed while something
    /// runs.
    pub fn note_ports(&self, services_run: bool) -> Result<()> {
        let file = self.dir().join("ports");
        let line = |(port, variable)| format!("{variable}={port}\n");
        let mut ports: String = self.settings.ports().into_iter().map(line).collect();
        ports += &format!("GATEWAY={}\n", self.settings.gateway.name());
        let noted = fs::read_to_string(&file).unwrap_or_else(|_| ports.clone());
        let changed = noted.lines().find(|line| !ports.lines().any(|other| other == *line));
        if let Some(changed) = changed
            && (services_run || self.servers()?.any())
        {
            bail!("it runs with {changed}: `saga stop` it before you change that")
        }
        fs::write(&file, ports).with_context(|| format!("cannot write {}", file.display()))
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
            definitions: vec![topology(self.settings, VHOST), logins(VHOST)],
            root: None,
            lifetime: Lifetime::Detached,
        }
    }

    /// Deletes everything; nothing may run any more.
    pub async fn delete(&self) -> Result<()> {
        for database in &self.settings.databases {
            Postgres::delete(&self.postgres_dir(database)).await?;
        }
        let dir = self.dir();
        fs::remove_dir_all(dir).with_context(|| format!("cannot delete {}", dir.display()))
    }
}

/// In the order of the settings' databases.
pub struct Servers {
    pub postgres: Vec<Option<Postgres>>,
    pub rabbitmq: Option<RabbitMq>,
}

impl Servers {
    pub fn any(&self) -> bool {
        self.rabbitmq.is_some() || self.postgres.iter().any(Option::is_some)
    }
}
