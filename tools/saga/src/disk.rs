//! Room on the disk, asked for before anything is put there: what runs out of it later says so in
//! ten different ways.

use std::path::Path;

use anyhow::{Result, ensure};
use nix::sys::statvfs::statvfs;

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
