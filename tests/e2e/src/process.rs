//! One service, or the stand-in for the provider, as a process of its own.

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use servers::{Process, Watchdog};
use std::{
    collections::BTreeMap,
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output},
    time::{Duration, Instant},
};

pub struct ServiceProcess {
    pub log: PathBuf,
    binary: PathBuf,
    settings: BTreeMap<String, String>,
    child: Child,
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
    /// It ends with its owner, however that ends.
    pub fn start(
        program: &str,
        settings: BTreeMap<String, String>,
        log: &Path,
        watchdog: &Watchdog,
    ) -> Self {
        let binary = binary(program);
        let lines =
            File::options().create(true).append(true).open(log).expect("a log can be written");
        let child = Command::new(&binary)
            .envs(&settings)
            .stdout(lines.try_clone().expect("a handle can be cloned"))
            .stderr(lines)
            .spawn()
            .expect("a service starts");
        if let Some(process) = Process::of(child.id()) {
            watchdog.ends(process, Signal::SIGKILL).expect("the watchdog listens");
        }
        Self { log: log.into(), binary, settings, child }
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().cast_signed());
        kill(pid, signal).expect("it runs, or is not yet waited for");
    }

    /// `kill -9`, and gone.
    pub fn kill(mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it can be waited for");
    }

    /// SIGTERM; how it ended, and how long that took.
    pub async fn stop(mut self) -> (ExitStatus, Duration) {
        let asked = Instant::now();
        self.signal(Signal::SIGTERM);
        (self.ended().await, asked.elapsed())
    }

    /// Waits for its end, twenty seconds at most.
    pub async fn ended(&mut self) -> ExitStatus {
        crate::until(Duration::from_secs(20), || {
            let ended = self.child.try_wait().expect("it can be waited for");
            async move { ended.ok_or_else(|| "it still runs".to_string()) }
        })
        .await
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
        self.child.id()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for ServiceProcess {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
