//! Keeps the data of a Postgres where the account of its server reaches them, with a link to them
//! in its directory, and knows whose they are.

use std::collections::hash_map::DefaultHasher;
use std::fs::{self, DirBuilder, OpenOptions};
use std::hash::{Hash, Hasher};
use std::io::{ErrorKind, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::cluster::data;
use super::initdb::remove;
use crate::Lifetime;
use crate::account::Account;

/// A directory that `account` can reach: one below root's home, for example, is out of its reach.
/// What is kept is where nothing is cleared away by its age.
pub fn find(dir: &Path, account: Account, lifetime: &Lifetime) -> Result<PathBuf> {
    check_owner(dir)?;
    let link = data(dir);
    if let Ok(target) = fs::read_link(&link) {
        note_owner(&target, dir)?;
        return Ok(target);
    }
    let place = make(&link, account, lifetime)?;
    account.give(&place)?;
    note_owner(&place, dir)?;
    symlink(&place, &link).with_context(|| format!("cannot make the link {}", link.display()))?;
    Ok(place)
}

fn make(link: &Path, account: Account, lifetime: &Lifetime) -> Result<PathBuf> {
    let mut hasher = DefaultHasher::new();
    link.hash(&mut hasher);
    let (above, is_kept) = match lifetime {
        Lifetime::Bound(_) => ("/var/tmp", false),
        Lifetime::Detached => ("/var/lib", true),
    };
    let name = format!("{above}/quadrille-{:016x}", hasher.finish());
    let numbered = (2..).map(|number| format!("{name}-{number}"));
    for place in std::iter::once(name.clone()).chain(numbered).map(PathBuf::from) {
        // A start that died may have left it, empty.
        fs::remove_dir(&place).ok();
        if !is_kept && account.owns(&place) {
            remove(&place)?;
        }
        match DirBuilder::new().mode(0o700).create(&place) {
            // Another user's, or that of a directory which was here, and was moved away.
            Err(why) if why.kind() == ErrorKind::AlreadyExists => {}
            made => {
                let failed = || format!("cannot make {}, for `postgres`", place.display());
                return made.with_context(failed).map(|()| place);
            }
        }
    }
    unreachable!("the numbers do not end")
}

/// Refuses data that are gone, instead of beginning anew beside all that knows of them, and those
/// of another directory.
pub fn check(dir: &Path) -> Result<()> {
    if let Ok(target) = fs::read_link(data(dir)) {
        ensure!(
            target.exists(),
            "the data of {}, in {}, are gone: bring them back, or `saga down` deletes the rest",
            dir.display(),
            target.display()
        );
    }
    check_owner(dir)
}

/// Refuses the data of another directory, whose copy `dir` is. A directory that was moved still
/// owns its data.
pub fn check_owner(dir: &Path) -> Result<()> {
    let Ok(target) = fs::read_link(data(dir)) else { return Ok(()) };
    let Ok(owner) = fs::read_to_string(owner_file(&target)) else { return Ok(()) };
    let owner = Path::new(owner.trim_end());
    let is_theirs = fs::read_link(data(owner)).is_ok_and(|theirs| theirs == target);
    let file = |dir: &Path| fs::metadata(dir).ok().map(|found| (found.dev(), found.ino()));
    ensure!(
        !is_theirs || file(owner) == file(dir),
        "the data in {} are those of {}: no copy of it can use or delete them, so delete the copy, \
         of which {} is a part, by `rm -r`",
        target.display(),
        owner.display(),
        dir.display()
    );
    Ok(())
}

/// Beside the data, which must be empty at first, and may be replaced by those of a primary.
pub fn owner_file(place: &Path) -> PathBuf {
    place.with_extension("home")
}

fn note_owner(place: &Path, dir: &Path) -> Result<()> {
    let file = owner_file(place);
    // Another user may have made a link of this name.
    fs::remove_file(&file).ok();
    let made = OpenOptions::new().write(true).create_new(true).open(&file);
    made.and_then(|mut made| made.write_all(dir.as_os_str().as_bytes()))
        .with_context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::cluster::delete;

    /// Only root keeps data elsewhere, for `postgres`.
    fn lent() -> Option<Account> {
        let lent = Account::for_postgres().ok().filter(|account| account.is_lent());
        if lent.is_none() {
            eprintln!("skipped: only root keeps data elsewhere, for `postgres`");
        }
        lent
    }

    #[test]
    fn data_elsewhere_are_kept_where_no_age_deletes_them_and_those_of_tests_are_scratch() {
        let Some(account) = lent() else { return };
        let dir = std::env::temp_dir().join(format!("quadrille elsewhere {}", std::process::id()));
        let lifetimes =
            [(Lifetime::Detached, "/var/lib"), (Lifetime::bound().unwrap(), "/var/tmp")];
        for (lifetime, above) in lifetimes {
            fs::create_dir_all(&dir).unwrap();
            let find = || find(&dir, account, &lifetime).unwrap();
            let kept = find();
            assert_eq!(kept.parent(), Some(above.as_ref()));
            fs::write(kept.join("kept"), "").unwrap();
            assert!(find() == kept && kept.join("kept").exists(), "it is found by its link");
            delete(&dir).unwrap();
            assert!(!kept.exists() && !dir.exists());
        }

        fs::create_dir_all(dir.join("older")).unwrap();
        symlink(dir.join("older"), data(&dir)).unwrap();
        let find = || find(&dir, account, &Lifetime::Detached).unwrap();
        assert_eq!(find(), dir.join("older"), "an older place is still good");
        fs::remove_dir(dir.join("older")).unwrap();
        let lost = check(&dir).unwrap_err().to_string();
        assert!(lost.contains("are gone: bring them back, or `saga down`"), "{lost}");
        delete(&dir).unwrap();
    }

    #[test]
    fn a_copy_of_a_home_shares_no_data_with_it_and_a_moved_one_takes_them_along() {
        let Some(account) = lent() else { return };
        let above = std::env::temp_dir().join(format!("quadrille copies {}", std::process::id()));
        let [dir, copy, moved] = ["home", "copy", "moved"].map(|name| above.join(name));
        fs::create_dir_all(&dir).unwrap();
        fs::create_dir_all(&copy).unwrap();
        let find = |dir: &Path| find(dir, account, &Lifetime::Detached);
        let kept = find(&dir).unwrap();
        fs::write(kept.join("kept"), "").unwrap();
        symlink(&kept, data(&copy)).unwrap();
        for refused in [find(&copy).map(drop), delete(&copy)] {
            let refused = refused.unwrap_err().to_string();
            assert!(refused.contains(&format!("are those of {}", dir.display())), "{refused}");
        }
        assert!(copy.exists() && kept.join("kept").exists());

        fs::rename(&dir, &moved).unwrap();
        fs::create_dir_all(&dir).unwrap();
        let new = find(&dir).unwrap();
        assert!(new != kept && kept.join("kept").exists(), "a new home takes nothing away");
        assert_eq!(find(&moved).unwrap(), kept);
        find(&copy).expect_err("they are those of the moved one now");
        for dir in [&dir, &moved] {
            delete(dir).unwrap();
        }
        assert!(!new.exists() && !kept.exists());
        fs::remove_dir_all(&above).unwrap();
    }
}
