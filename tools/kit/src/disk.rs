//! Room on the disk, asked for before anything is put there: what runs out of it later says so in
//! ten different ways. And what is put there when a long measurement ends.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use nix::sys::statvfs::statvfs;
use serde::Serialize;

/// A report's name in its folder.
pub const REPORT: &str = "report.json";

/// Fails where `path` will lie on a disk with less room than this. One that cannot be looked at, as
/// in a virtual machine, is not complained of.
pub fn ensure_room(path: &Path, needed_mb: u64, remedy: &str) -> Result<()> {
    let Some(free_mb) = free_mb(path) else { return Ok(()) };
    ensure!(
        free_mb >= needed_mb,
        "only {free_mb} MB are free for {}, and it takes {needed_mb} MB: {remedy}",
        path.display()
    );
    Ok(())
}

pub fn write_report(folder: &Path, report: &impl Serialize) -> Result<()> {
    let failed = || format!("cannot write the report into {}", folder.display());
    fs::create_dir_all(folder).with_context(failed)?;
    fs::write(folder.join(REPORT), serde_json::to_string_pretty(report)?).with_context(failed)
}

/// Nothing where it cannot be told.
pub fn free_mb(path: &Path) -> Option<u64> {
    let there = path.ancestors().find(|one| one.exists())?;
    let disk = statvfs(there).ok()?;
    Some(disk.blocks_available().saturating_mul(disk.fragment_size()) / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_little_room_is_told_with_what_is_there_and_what_helps() {
        let nowhere = Path::new("/nothing/is/here/yet");
        ensure_room(nowhere, 0, "").unwrap();
        let told = ensure_room(nowhere, u64::MAX, "free some").unwrap_err().to_string();
        assert!(told.starts_with("only ") && told.ends_with(" MB: free some"), "{told}");
    }
}
