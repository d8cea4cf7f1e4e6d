//! Runs a process in the background, from its start to its end.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use crate::{Lifetime, Process, spawn, until};

/// Kills the process when dropped, unless it was released: a start that fails or is cancelled
/// half-way leaves nothing behind.
pub struct Running {
    pub process: Process,
    /// The child to wait for, if we started it.
    child: Option<Child>,
    pid_file: PathBuf,
    killed_by: Signal,
    lives_on: bool,
}

impl Running {
    pub fn start(
        command: &mut Command,
        log: &Path,
        pid_file: PathBuf,
        killed_by: Signal,
        lifetime: &Lifetime,
    ) -> Result<Self> {
        let (process, child) = spawn(command, log)?;
        let child = Some(child);
        let running = Self { process, child, pid_file, killed_by, lives_on: false };
        if let Some(watchdog) = lifetime.watchdog() {
            watchdog.ends(process, killed_by)?;
        }
        process.record(&running.pid_file)?;
        Ok(running)
    }

    /// The process that was left running in the background, if it still runs.
    pub fn attach(pid_file: PathBuf, killed_by: Signal) -> Option<Self> {
        let process = Process::recorded(&pid_file)?;
        Some(Self { process, child: None, pid_file, killed_by, lives_on: true })
    }

    /// Waits for it to end on its own; none when it still runs after `bound`.
    pub async fn ends_within(&mut self, bound: Duration) -> Result<Option<ExitStatus>> {
        let child = self.child.as_mut().context("only what was started here can be waited for")?;
        let status = until(bound, || child.try_wait().transpose()).await.transpose()?;
        if status.is_some() {
            self.clear_up()?;
        }
        Ok(status)
    }

    /// Called once it is ready.
    pub fn lives(&mut self, lifetime: &Lifetime) {
        self.lives_on = matches!(lifetime, Lifetime::Detached);
    }

    pub fn is_alive(&self) -> bool {
        self.process.is_alive()
    }

    /// Whether it was started by this handle, and not found.
    pub fn is_child(&self) -> bool {
        self.child.is_some()
    }

    /// Sends one signal after the other, SIGKILL at last, and cleans up after it.
    pub async fn end(&mut self, asks: &[(Signal, Duration)]) -> Result<()> {
        self.process.end(asks).await?;
        // Its own children may still write to its files.
        for left in self.process.group() {
            left.end(&[]).await?;
        }
        self.clear_up()
    }

    fn clear_up(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.wait().context("cannot wait for its end")?;
        }
        std::fs::remove_file(&self.pid_file).ok();
        Ok(())
    }

    /// Waits without a runtime, which may be gone when something is dropped.
    fn is_gone_within(&mut self, bound: Duration) -> bool {
        let deadline = Instant::now() + bound;
        loop {
            let ended = match &mut self.child {
                Some(child) => matches!(child.try_wait(), Ok(Some(_)) | Err(_)),
                None => !self.is_alive(),
            };
            if ended && self.process.group().is_empty() {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.lives_on || self.child.is_none() {
            return;
        }
        self.process.signal_group(self.killed_by);
        if !self.is_gone_within(Duration::from_secs(6)) {
            self.process.signal_group(Signal::SIGKILL);
            self.is_gone_within(Duration::from_secs(2));
        }
        self.clear_up().ok();
    }
}
