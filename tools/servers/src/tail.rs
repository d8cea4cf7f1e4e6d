//! Reads the end of a log, to show why a program did not start.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use anyhow::{Error, anyhow};

/// The last `lines` lines of a file, or nothing where it cannot be read.
pub fn tail(file: &Path, lines: usize) -> String {
    const ENOUGH: u64 = 64 * 1024;
    let mut text = Vec::new();
    if let Ok(mut file) = File::open(file) {
        let size = file.metadata().map_or(0, |metadata| metadata.len());
        file.seek(SeekFrom::Start(size.saturating_sub(ENOUGH))).ok();
        file.read_to_end(&mut text).ok();
    }
    let text = String::from_utf8_lossy(&text);
    let all: Vec<&str> = text.trim_end().lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// The error, followed by the log's last lines.
pub(crate) fn with_log(error: &Error, log: &Path) -> Error {
    anyhow!("{error:#}; its log, {}, ends:\n{}", log.display(), tail(log, 15))
}
