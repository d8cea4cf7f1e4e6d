//! Runs one service, or the mock payment provider, as a process of its own.

use crate::BOUND;
use nix::sys::signal::Signal;
use servers::{Lifetime, Running, Watchdog, background};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Output},
    sync::Arc,
    time::{Duration, Instant},
};

/// Kills the process when dropped.
pub struct ServiceProcess {
    pub log: PathBuf,
    binary: PathBuf,
    settings: BTreeMap<String, String>,
    running: Running,
}

/// The binaries are built by the same `cargo` call as this test.
pub fn binary(name: &str) -> PathBuf {
    let here = std::env::current_exe().expect("a test has a path");
    let folder = here.ancestors().find(|folder| folder.join(name).is_file());
    let folder = folder.unwrap_or_else(|| panic!("{name} is not built: run `cargo build`"));
    folder.join(name)
}

/// The folder that they are in.
pub fn target() -> PathBuf {
    let binary = binary("order-service");
    binary.parent().expect("a binary stands in a folder").into()
}

impl ServiceProcess {
    /// The process ends with its owner, also when the owner is killed.
    pub fn start(
        program: &str,
        settings: BTreeMap<String, String>,
        log: &Path,
        watchdog: &Arc<Watchdog>,
    ) -> Self {
        let binary = binary(program);
        let mut command = background(&binary);
        command.envs(&settings);
        let lifetime = Lifetime::Bound(Arc::clone(watchdog));
        let pid_file = log.with_extension("pid");
        let running = Running::start(&mut command, log, pid_file, Signal::SIGKILL, &lifetime);
        let running = running.expect("a service starts");
        Self { log: log.into(), binary, settings, running }
    }

    pub fn signal(&self, signal: Signal) {
        self.running.process.signal(signal);
    }

    /// `kill -9`, and gone.
    pub fn kill(self) {}

    /// Sends SIGTERM; returns how the process ended, and how long that took.
    pub async fn stop(mut self) -> (ExitStatus, Duration) {
        let asked = Instant::now();
        self.signal(Signal::SIGTERM);
        (self.ended().await, asked.elapsed())
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> ExitStatus {
        let ended = self.running.ends_within(BOUND).await;
        ended.expect("it can be waited for").expect("it ends in time")
    }

    pub fn healthcheck(&self) -> Output {
        self.check(&["healthcheck"])
    }

    pub fn is_alive(&self) -> bool {
        self.check(&["healthcheck", "--alive"]).status.success()
    }

    fn check(&self, command: &[&str]) -> Output {
        let mut check = Command::new(&self.binary);
        check.args(command).envs(&self.settings).output().expect("the binary runs")
    }

    pub fn pid(&self) -> u32 {
        self.running.process.pid
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}
