//! Downloads the RabbitMQ of another Debian release, to test it beside the machine's own.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

/// Debian's releases with RabbitMQ 4.0 and 4.3.
pub const NEWER: [&str; 2] = ["trixie", "forky"];

/// Where they are kept, from the root of the source tree.
pub const FOLDER: &str = "target/rabbitmq";

/// A directory below `dir` with the RabbitMQ of this release, by its code name. Downloads 70 MB
/// where it is missing. The error says why this machine cannot run it.
pub async fn rabbitmq(dir: &Path, release: &str) -> Result<PathBuf> {
    let root = std::path::absolute(dir)?.join(release);
    if root.join("ready-2").exists() {
        return Ok(root);
    }
    let output = Command::new("sh")
        .args(["-c", include_str!("release.sh"), "quadrille-release", release])
        .arg(&root)
        .stdin(Stdio::null())
        .output()
        .await
        .context("cannot run the download")?;
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.trim_end().lines().last().unwrap_or_default();
    ensure!(output.status.success(), "no RabbitMQ of Debian {release} can be had: {last}");
    Ok(root)
}

/// The same for a test, which is skipped where this machine cannot run it; it says so on the
/// terminal, since a test's output is not shown.
pub async fn rabbitmq_or_skip(dir: &Path, release: &str) -> Option<PathBuf> {
    let found = rabbitmq(dir, release).await;
    if let Err(why) = &found {
        writeln!(std::io::stderr(), "SKIPPED, not tried on {release}: {why:#}").ok();
    }
    found.ok()
}
