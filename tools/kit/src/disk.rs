//! Checks the free disk space before anything is written: a full disk later causes many different
//! errors. Knows what it leaves behind. Also writes the report of a long measurement.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use nix::sys::statvfs::statvfs;
use serde::Serialize;

/// A report's name in its folder.
pub const REPORT: &str = "report.json";
/// Beside it, the logs of a run in which something is wrong.
pub const LOGS: &str = "logs";

/// Fails where `path` will lie on a disk with less room than this. A disk that cannot be inspected,
/// as in a virtual machine, is accepted.
pub fn ensure_room(path: &Path, needed_mb: u64, remedy: &str) -> Result<()> {
    let Some(free_mb) = free_mb(path) else { return Ok(()) };
    ensure!(
        free_mb >= needed_mb,
        "only {free_mb} MB free for {}, {needed_mb} MB needed: {remedy}",
        path.display()
    );
    Ok(())
}

pub fn write_report(folder: &Path, report: &impl Serialize) -> Result<()> {
    let failed = || format!("cannot write the report into {}", folder.display());
    fs::create_dir_all(folder).with_context(failed)?;
    fs::write(folder.join(REPORT), serde_json::to_string_pretty(report)?).with_context(failed)
}

/// Removes the results of an earlier run, so that they are not taken for this one's.
pub fn clear(folder: &Path) -> Result<()> {
    let left = [fs::remove_file(folder.join(REPORT)), fs::remove_dir_all(folder.join(LOGS))];
    let failed =
        left.into_iter().filter_map(Result::err).find(|why| why.kind() != ErrorKind::NotFound);
    failed.map_or(Ok(()), |why| {
        Err(why).with_context(|| format!("cannot clear {}", folder.display()))
    })
}

/// A write that died on a full disk has left an empty file.
pub fn is_written(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.len() > 0)
}

/// None where it is not known.
pub fn free_mb(path: &Path) -> Option<u64> {
    let there = path.ancestors().find(|one| one.exists())?;
    let disk = statvfs(there).ok()?;
    // Their types are not the same on every system.
    let bytes = u128::from(disk.blocks_available()) * u128::from(disk.fragment_size());
    u64::try_from(bytes / 1_000_000).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_little_room_is_told_with_what_is_there_and_what_helps() {
        let nowhere = Path::new("/nothing/is/here/yet");
        ensure_room(nowhere, 0, "").unwrap();
        let told = ensure_room(nowhere, u64::MAX, "free some").unwrap_err().to_string();
        assert!(told.starts_with("only ") && told.ends_with(" MB needed: free some"), "{told}");
    }
}
