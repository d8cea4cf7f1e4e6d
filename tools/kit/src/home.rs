//! Manages the directory in which `up` keeps everything, and the servers in it.

mod parts;

use std::fs::{self, File, TryLockError};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use servers::{
    HaProxyConfig, Lifetime, Membership, Postgres, PostgresConfig, RabbitConfig, Replication,
};

pub use self::parts::{Server, Servers};
use crate::definitions::{logins, topology};
use crate::disk::is_written;
use crate::keys;
use crate::settings::{CLUSTER_MARK, Database, Listener, SUPERUSER_PASSWORD, Settings, VHOST};

/// Marks a directory as made by us, so that we may delete it.
const MARK: &str = ".saga";
/// Holds the path at which it was made.
const PLACE: &str = "place";
/// There while it is being deleted.
const HALF: &str = ".half-deleted";
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

    /// Whether it was made as one.
    pub fn is_cluster(&self) -> bool {
        self.dir().join(CLUSTER_MARK).exists()
    }

    /// Makes the directory. A directory with other content is not taken over.
    pub fn make(&self) -> Result<()> {
        let dir = self.dir();
        if self.is_there() {
            self.check_kind()?;
            return self.note_place();
        }
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        // A run that died in the middle may have left that alone.
        let is_own = |path: &PathBuf| path.ends_with(CLUSTER_MARK);
        ensure!(
            self.entries()?.iter().all(is_own),
            "SAGA_HOME={} contains other files: choose a new or empty directory, \
             since `saga down` deletes it",
            dir.display()
        );
        let failed = || format!("cannot write into {}", dir.display());
        if self.settings.is_cluster {
            fs::write(dir.join(CLUSTER_MARK), "").with_context(failed)?;
        }
        fs::write(dir.join(MARK), MARK_TEXT).with_context(failed)?;
        self.note_place()
    }

    fn note_place(&self) -> Result<()> {
        let file = self.dir().join(PLACE);
        if is_written(&file) {
            return Ok(());
        }
        fs::write(&file, self.dir().as_os_str().as_bytes())
            .with_context(|| format!("cannot write {}", file.display()))
    }

    /// Fails where it is a copy of a home: the pids in it are those of the original's processes.
    pub fn check_original(&self) -> Result<()> {
        match self.elsewhere() {
            Some(first) if first.join(MARK).exists() => bail!(
                "SAGA_HOME={} is a copy of {}, whose processes and data it names: delete the copy \
                 by `rm -r`",
                self.dir().display(),
                first.display()
            ),
            _ => Ok(()),
        }
    }

    /// Where it was made, if that is another place.
    fn elsewhere(&self) -> Option<PathBuf> {
        let first = PathBuf::from(fs::read_to_string(self.dir().join(PLACE)).ok()?);
        // A full disk has left it empty.
        let first = Some(first).filter(|first| first.is_absolute())?;
        let id = |dir: &Path| fs::metadata(dir).ok().map(|found| (found.dev(), found.ino()));
        (id(&first) != id(self.dir())).then_some(first)
    }

    /// What was made without a cluster does not become one, and no rest of data is started on.
    pub fn check_kind(&self) -> Result<()> {
        self.check_original()?;
        let dir = self.dir().display();
        if let Some(first) = self.elsewhere() {
            let first = first.display();
            bail!(
                "SAGA_HOME={dir} was moved from {first}, which RabbitMQ's data name: move it back, \
                 or `saga down` deletes it"
            )
        }
        ensure!(
            !self.dir().join(HALF).exists(),
            "SAGA_HOME={dir} is half deleted: `saga down` deletes the rest"
        );
        let is_other = self.is_there() && !self.is_cluster();
        ensure!(
            !(is_other && self.settings.is_cluster),
            "SAGA_HOME={dir} holds no cluster: `saga down` deletes it, or name another directory"
        );
        Ok(())
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

    /// The servers, whether they run or not.
    pub fn servers(&self) -> Result<Servers> {
        Servers::of(self, self.settings)
    }

    /// Records the ports, the provider and the doors in use, and fails if they are changed while
    /// something runs.
    pub fn note_ports(&self, services_run: bool) -> Result<()> {
        let file = self.dir().join("ports");
        let line = |(port, variable)| format!("{variable}={port}\n");
        let mut ports: String = self.settings.ports().into_iter().map(line).collect();
        ports += &format!("GATEWAY={}\n", self.settings.gateway.name());
        ports += &format!("TLS={}\n", u8::from(self.settings.tls.is_some()));
        ports += &format!("API_KEYS={}\n", keys::setting(self.settings));
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

    /// The database's primary, or its only server.
    pub fn postgres(&self, database: &Database) -> PostgresConfig {
        self.pair(database).swap_remove(self.primary(database))
    }

    /// The database's standby, in a cluster.
    pub fn standby(&self, database: &Database) -> Option<PostgresConfig> {
        let mut pair = self.pair(database);
        pair.swap_remove(self.primary(database));
        pair.pop()
    }

    /// The database's servers, one or two, each with its part.
    pub fn pair(&self, database: &Database) -> Vec<PostgresConfig> {
        let ports = self.settings.servers_of(database);
        let primary = self.primary(database);
        let server = |(at, (port, _))| PostgresConfig {
            dir: match at {
                0 => self.postgres_dir(database),
                _ => self.dir().join(format!("postgres-{}-2", database.service)),
            },
            port,
            database: database.name.to_owned(),
            user: database.name.to_owned(),
            password: database.name.to_owned(),
            superuser_password: SUPERUSER_PASSWORD.to_owned(),
            replication: (ports.len() > 1).then(|| match at == primary {
                true => Replication::Primary,
                false => Replication::StandbyOf(ports[primary].0),
            }),
            tls: self.settings.tls.clone(),
            lifetime: Lifetime::Detached,
        };
        (0..).zip(ports.iter().copied()).map(server).collect()
    }

    /// Which of the two servers is the primary, as `failover` has noted it.
    fn primary(&self, database: &Database) -> usize {
        usize::from(self.settings.is_cluster && self.promoted(database).exists())
    }

    /// Notes that the two servers have changed their parts.
    pub fn note_failover(&self, database: &Database) -> Result<()> {
        let file = self.promoted(database);
        let noted = match self.primary(database) {
            0 => fs::write(&file, ""),
            _ => fs::remove_file(&file),
        };
        noted.with_context(|| format!("cannot write {}", file.display()))
    }

    /// There while the second server is the primary.
    fn promoted(&self, database: &Database) -> PathBuf {
        self.dir().join(format!("postgres-{}.promoted", database.service))
    }

    /// RabbitMQ's nodes, one or three.
    pub fn brokers(&self) -> Vec<RabbitConfig> {
        let nodes = self.settings.nodes();
        let size = nodes.len();
        let node = |(number, [(port, _), (management_port, _)]): (usize, [Listener; 2])| {
            let shared = self.rabbitmq_dir();
            let member = Membership { dir: shared.clone(), number, size };
            let is_one = size == 1;
            RabbitConfig {
                dir: if is_one { shared } else { self.dir().join(format!("rabbitmq-{number}")) },
                port,
                management_port,
                metrics_port: self.settings.rabbitmq_metrics_port.filter(|_| is_one),
                user: self.settings.rabbitmq_user.clone(),
                password: self.settings.rabbitmq_password.clone(),
                definitions: vec![topology(self.settings, VHOST), logins(self.settings, VHOST)],
                root: self.settings.rabbitmq_root.clone(),
                cluster: (!is_one).then_some(member),
                tls: self.settings.tls.clone(),
                lifetime: Lifetime::Detached,
            }
        };
        (1..).zip(nodes).map(node).collect()
    }

    /// Before order's copies, in a cluster.
    pub fn proxy(&self) -> Option<HaProxyConfig> {
        self.settings.is_cluster.then(|| HaProxyConfig {
            dir: self.dir().join("haproxy"),
            port: self.settings.order_http_port,
            copies: self.settings.cluster.orders.map(|(port, _)| port).to_vec(),
            probe: "/readyz",
            lifetime: Lifetime::Detached,
        })
    }

    /// Deletes everything; nothing may run any more.
    pub async fn delete(&self) -> Result<()> {
        // A full disk may have no room for it, and is emptied all the same.
        fs::write(self.dir().join(HALF), "").ok();
        for database in &self.settings.databases {
            for server in self.pair(database) {
                Postgres::delete(&server.dir).await?;
            }
        }
        // While anything is left, it is known as ours.
        let marks = [HALF, CLUSTER_MARK, MARK].map(|mark| self.dir().join(mark));
        let rest = self.entries()?.into_iter().filter(|path| !marks.contains(path));
        for path in rest.chain(marks.clone()).chain([self.dir().to_owned()]) {
            let deleted = match fs::symlink_metadata(&path) {
                Ok(found) if found.is_dir() => fs::remove_dir_all(&path),
                Ok(_) => fs::remove_file(&path),
                Err(_) => continue,
            };
            deleted.with_context(|| format!("cannot delete {}", path.display()))?;
        }
        Ok(())
    }

    fn entries(&self) -> Result<Vec<PathBuf>> {
        let all = fs::read_dir(self.dir()).and_then(|entries| {
            entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()
        });
        all.with_context(|| format!("cannot read {}", self.dir().display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, chown};

    use nix::unistd::{Uid, setfsuid};

    fn settings(dir: &Path, cluster: &str) -> Settings {
        let home = dir.display().to_string();
        let variable = |name: &str| match name {
            "SAGA_HOME" => Some(home.clone()),
            "CLUSTER" => Some(cluster.to_owned()),
            _ => None,
        };
        Settings::with(&[], variable).unwrap()
    }

    fn scratch(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("quadrille-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        dir
    }

    #[tokio::test]
    async fn what_is_deleted_in_part_is_deleted_by_a_second_try_and_never_started_on() {
        let dir = scratch("half");
        let settings = settings(&dir, "3");
        let home = Home::new(&settings);
        home.make().unwrap();
        let held = dir.join("held");
        fs::create_dir_all(&held).unwrap();
        fs::write(held.join("file"), "").unwrap();
        fs::set_permissions(&held, fs::Permissions::from_mode(0o500)).unwrap();
        let ours = Uid::effective();
        if ours.is_root() {
            // Root could delete it.
            let other = 65534;
            for path in [&dir, &held] {
                chown(path, Some(other), Some(other)).unwrap();
            }
            setfsuid(Uid::from_raw(other));
        }
        let failed = home.delete().await.unwrap_err();
        setfsuid(ours);
        assert!(format!("{failed:#}").contains("cannot delete"), "{failed:#}");
        assert!(home.is_there() && home.is_cluster());
        assert!(home.make().unwrap_err().to_string().contains("half deleted"));

        fs::set_permissions(&held, fs::Permissions::from_mode(0o700)).unwrap();
        home.delete().await.unwrap();
        assert!(!dir.exists());
    }

    /// What RabbitMQ has stored names its path: elsewhere, it would go on in the original's data.
    #[test]
    fn a_moved_home_is_not_started_on_and_a_copy_ends_nothing_of_the_original() {
        let dir = scratch("moved");
        let [first, other] = ["first", "other"].map(|name| dir.join(name));
        let (original, copy) = (settings(&first, "1"), settings(&other, "1"));
        Home::new(&original).make().unwrap();
        Home::new(&original).make().unwrap();
        fs::create_dir(&other).unwrap();
        for name in [MARK, PLACE] {
            fs::copy(first.join(name), other.join(name)).unwrap();
        }
        let home = Home::new(&copy);
        for refused in [home.make(), home.check_original()] {
            let refused = refused.unwrap_err().to_string();
            assert!(refused.contains(&format!("is a copy of {}", first.display())), "{refused}");
        }
        Home::new(&original).check_original().unwrap();

        fs::remove_dir_all(&first).unwrap();
        let refused = home.make().unwrap_err().to_string();
        assert!(refused.contains(&format!("was moved from {}", first.display())), "{refused}");
        home.check_original().expect("it can be stopped and deleted");
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn what_was_made_in_part_is_made_by_a_second_try() {
        let dir = scratch("made");
        fs::write(dir.join(CLUSTER_MARK), "").unwrap();
        let settings = settings(&dir, "3");
        let home = Home::new(&settings);
        home.make().unwrap();
        assert!(home.is_there() && home.is_cluster());
        fs::remove_dir_all(&dir).unwrap();
    }
}
