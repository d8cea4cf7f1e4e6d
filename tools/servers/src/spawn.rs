//! Starts a program in the background.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, anyhow};

use crate::Process;
use crate::tail::with_log;

/// A command that runs in a session of its own and so outlives the terminal. `setsid` keeps the
/// pid, since a freshly forked child leads no group yet.
pub fn background(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setsid");
    // The key of this command's user is not for what outlives it.
    command.arg(program).stdin(Stdio::null()).env_remove("QUADRILLE_KEY");
    command
}

/// Starts such a command with its output appended to `log`. A caller that lives on must wait for
/// the child once it has ended.
pub fn spawn(command: &mut Command, log: &Path) -> Result<(Process, Child)> {
    if let Some(parent) = log.parent() {
        fs::create_dir_all(parent)
            .with_context(|| format!("cannot make the directory {}", parent.display()))?;
    }
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)
        .with_context(|| format!("cannot write {}", log.display()))?;
    let program = command.get_args().next().unwrap_or_default().display().to_string();
    let mut child = command
        .stdout(file.try_clone()?)
        .stderr(file)
        .spawn()
        .with_context(|| format!("cannot start {program}"))?;
    let Some(process) = Process::of(child.id()) else {
        let status = child.wait()?;
        return Err(with_log(&anyhow!("{program} ended while it started ({status})"), log));
    };
    Ok((process, child))
}
