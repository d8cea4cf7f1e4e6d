//! Ends processes and deletes directories when its owner is gone, in whatever way it ended: a small
//! shell waits at the far end of a pipe, and the kernel closes the pipe even after `kill -9`.

use std::io::Write;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Mutex;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;

use crate::Process;

pub struct Watchdog {
    shell: Child,
    orders: Mutex<Option<ChildStdin>>,
}

impl Watchdog {
    pub fn start() -> Result<Self> {
        // In a session of its own, so that a Ctrl-C in the terminal does not reach it.
        let mut shell = Command::new("setsid")
            .args(["sh", "-c", include_str!("watchdog.sh"), "quadrille-watchdog"])
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start `setsid sh`, which stops the servers when this process dies")?;
        let orders = Mutex::new(shell.stdin.take());
        Ok(Self { shell, orders })
    }

    /// Ends `process` with `signal`, and with SIGKILL where that does not help.
    pub fn ends(&self, process: Process, signal: Signal) -> Result<()> {
        let signal = signal.as_str().trim_start_matches("SIG");
        self.order(&format!("process {signal} {} {}\n", process.pid, process.started))
    }

    /// Deletes `directory` once the processes have ended.
    pub fn deletes(&self, directory: &Path) -> Result<()> {
        let path = std::path::absolute(directory)?;
        let path = path.to_str().unwrap_or("\n");
        ensure!(!path.contains('\n'), "the path {} is not plain text", directory.display());
        self.order(&format!("directory {path}\n"))
    }

    fn order(&self, line: &str) -> Result<()> {
        let mut orders = self.orders.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let pipe = orders.as_mut().context("the watchdog has ended")?;
        pipe.write_all(line.as_bytes()).context("the watchdog has died")
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        // The end of its input starts its work.
        drop(self.orders.get_mut().map(Option::take));
        self.shell.wait().ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper() -> Child {
        let mut command = Command::new("sleep");
        command.arg("60").spawn().expect("`sleep` starts")
    }

    #[test]
    fn it_ends_its_processes_and_deletes_its_directories_but_touches_no_later_process() {
        let directory = std::env::temp_dir().join(format!("quadrille dog {}", std::process::id()));
        std::fs::create_dir_all(directory.join("deep")).expect("a directory can be made");
        let (mut ours, mut other) = (sleeper(), sleeper());
        let process = Process::of(ours.id()).expect("it runs");
        let reused = Process::of(other.id()).expect("it runs");
        let reused = Process { started: reused.started - 1, ..reused };

        let watchdog = Watchdog::start().expect("it starts");
        watchdog.ends(process, Signal::SIGTERM).expect("it listens");
        watchdog.ends(reused, Signal::SIGTERM).expect("it listens");
        watchdog.deletes(&directory).expect("it listens");
        assert!(process.is_alive() && directory.exists());
        drop(watchdog);

        assert!(!process.is_alive() && !directory.exists());
        assert!(other.try_wait().expect("it can be asked").is_none());
        ours.wait().expect("it ended");
        other.kill().and_then(|()| other.wait()).expect("it can be killed");
    }

    #[test]
    fn it_ends_what_its_processes_have_started_too() {
        let mut command = crate::background("sh");
        let mut leader = command.args(["-c", "sleep 60 & exec sleep 60"]).spawn().expect("starts");
        let process = Process::of(leader.id()).expect("it runs");
        let two = || (process.group().len() == 2).then_some(());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let runtime = runtime.expect("a runtime starts");
        let both = runtime.block_on(crate::until(std::time::Duration::from_secs(5), two));
        assert!(both.is_some());

        let watchdog = Watchdog::start().expect("it starts");
        watchdog.ends(process, Signal::SIGTERM).expect("it listens");
        drop(watchdog);
        leader.wait().expect("it ended");
        assert!(process.group().is_empty());
    }
}
