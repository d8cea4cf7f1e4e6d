//! Chooses the account that the Postgres server runs as: Postgres refuses root, so that root runs
//! it as another one.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use nix::unistd::{Gid, Uid, User};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Account {
    uid: u32,
    gid: u32,
    /// Whether it is another account than ours.
    lent: bool,
}

impl Account {
    /// Our own, or for root that of `postgres`.
    pub fn for_postgres() -> Result<Self> {
        if !Uid::effective().is_root() {
            let (uid, gid) = (Uid::effective().as_raw(), Gid::effective().as_raw());
            return Ok(Self { uid, gid, lent: false });
        }
        let user = User::from_name("postgres")?.context(
            "Postgres does not run as root, and this machine has no user `postgres`: add one, or \
             run this as another user",
        )?;
        Ok(Self { uid: user.uid.as_raw(), gid: user.gid.as_raw(), lent: true })
    }

    /// The owner of the existing data: root can run the server as any account.
    pub fn of_owner(directory: &Path) -> Option<Self> {
        let found = fs::metadata(directory).ok()?;
        let lent = Uid::effective().is_root() && found.uid() != 0;
        lent.then(|| Self { uid: found.uid(), gid: found.gid(), lent })
    }

    #[cfg(test)]
    pub fn is_lent(self) -> bool {
        self.lent
    }

    pub fn lend_to(self, command: &mut Command) {
        if self.lent {
            command.uid(self.uid).gid(self.gid);
        }
    }

    pub fn give(self, path: &Path) -> Result<()> {
        if self.lent {
            chown(path, Some(self.uid), Some(self.gid))
                .with_context(|| format!("cannot give {} to `postgres`", path.display()))?;
        }
        Ok(())
    }

    pub fn owns(self, path: &Path) -> bool {
        fs::symlink_metadata(path).is_ok_and(|found| found.is_dir() && found.uid() == self.uid)
    }

    /// Whether the account may pass through `path` and every directory above it.
    pub fn reaches(self, path: &Path) -> bool {
        path.ancestors().filter_map(|above| fs::metadata(above).ok()).all(|directory| {
            let bit = match directory {
                _ if directory.uid() == self.uid => 0o100,
                _ if directory.gid() == self.gid => 0o010,
                _ => 0o001,
            };
            directory.mode() & bit != 0
        })
    }
}
