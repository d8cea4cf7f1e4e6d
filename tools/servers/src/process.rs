//! Identifies a process by its pid and start time, so that no signal is sent to a later process
//! that got the same pid.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, Uid, User};

use crate::until;

/// The kernel shows /proc times in USER_HZ, which is 100 on every platform Rust runs on.
const TICK_MS: u64 = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    pub pid: u32,
    /// In clock ticks since the machine started, as /proc says it.
    pub started: u64,
}

impl Process {
    /// The live process with this pid.
    pub fn of(pid: u32) -> Option<Self> {
        let stat = Stat::read(pid)?;
        (!stat.dead).then_some(Self { pid, started: stat.started })
    }

    /// The process that a pid file names, if it still runs.
    pub fn recorded(pid_file: &Path) -> Option<Self> {
        let text = fs::read_to_string(pid_file).ok()?;
        let (pid, started) = text.trim().split_once(' ')?;
        let process = Self { pid: pid.parse().ok()?, started: started.parse().ok()? };
        process.is_alive().then_some(process)
    }

    pub fn record(&self, pid_file: &Path) -> Result<()> {
        // On a full disk an empty file would be left, which names no process.
        let new = pid_file.with_extension("new");
        fs::write(&new, format!("{} {}\n", self.pid, self.started))
            .and_then(|()| fs::rename(&new, pid_file))
            .inspect_err(|_| drop(fs::remove_file(&new)))
            .with_context(|| format!("cannot write {}", pid_file.display()))
    }

    pub fn is_alive(&self) -> bool {
        Stat::read(self.pid).is_some_and(|stat| !stat.dead && stat.started == self.started)
    }

    /// Whether a signal has frozen it. Its sockets take connections all the same.
    pub fn is_frozen(&self) -> bool {
        Stat::read(self.pid).is_some_and(|stat| stat.frozen && stat.started == self.started)
    }

    /// That it is frozen, and what to do about it.
    pub fn frozen(&self) -> Option<String> {
        let pid = self.pid;
        self.is_frozen().then(|| format!("frozen by a signal: `kill -CONT {pid}` lets it go on"))
    }

    /// How long it has been running.
    pub fn age(&self) -> Option<Duration> {
        let uptime = fs::read_to_string("/proc/uptime").ok()?;
        let uptime: f64 = uptime.split(' ').next()?.parse().ok()?;
        let started = Duration::from_millis(self.started * TICK_MS);
        Some(Duration::from_secs_f64(uptime).saturating_sub(started))
    }

    /// Sends a signal; a process that is gone already is no error.
    pub fn signal(&self, signal: Signal) {
        self.send(signal).ok();
    }

    /// Fails where it is another user's process.
    fn send(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.pid)?;
        if self.is_alive() && kill(Pid::from_raw(pid), signal) == Err(Errno::EPERM) {
            let owner = fs::metadata(format!("/proc/{pid}")).map(|found| found.uid())?;
            let name = User::from_uid(Uid::from_raw(owner)).ok().flatten().map(|user| user.name);
            let name = name.unwrap_or_else(|| format!("the user with the id {owner}"));
            bail!("pid {pid} belongs to another user: run it as {name}");
        }
        Ok(())
    }

    /// Sends a signal to it and all in its process group, which it must lead.
    pub(crate) fn signal_group(&self, signal: Signal) {
        if let Ok(pid) = i32::try_from(self.pid)
            && self.is_alive()
        {
            killpg(Pid::from_raw(pid), signal).ok();
        }
    }

    /// The members of the process group that it leads or led. The kernel does not reuse its pid as
    /// long as the group has a member.
    pub(crate) fn group(&self) -> Vec<Self> {
        others(|stat| stat.group == self.pid)
    }

    /// The name of its program, at most fifteen characters of it.
    pub fn name(&self) -> Option<String> {
        let name = fs::read_to_string(format!("/proc/{}/comm", self.pid)).ok()?;
        Some(name.trim_end().to_owned())
    }

    pub fn children(&self) -> Vec<Self> {
        others(|stat| stat.parent == self.pid)
    }

    /// Its children, theirs, and so on.
    pub fn descendants(&self) -> Vec<Self> {
        let mut all = self.children();
        let mut at = 0;
        while let Some(process) = all.get(at) {
            let children = process.children();
            all.extend(children);
            at += 1;
        }
        all
    }

    /// Waits until it has ended; false when it still runs after `bound`.
    pub async fn ends_within(&self, bound: Duration) -> bool {
        until(bound, || (!self.is_alive()).then_some(())).await.is_some()
    }

    /// Sends one signal after the other, each with its time to take effect, and SIGKILL at last.
    pub async fn end(&self, asks: &[(Signal, Duration)]) -> Result<()> {
        for (signal, bound) in asks {
            self.send(*signal)?;
            if self.ends_within(*bound).await {
                return Ok(());
            }
        }
        self.send(Signal::SIGKILL)?;
        let has_ended = self.ends_within(Duration::from_secs(5)).await;
        ensure!(has_ended, "pid {} does not end, not even by SIGKILL", self.pid);
        Ok(())
    }
}

/// The pids of all processes that this user can see.
pub(crate) fn every_pid() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

fn others(wanted: impl Fn(&Stat) -> bool) -> Vec<Process> {
    every_pid()
        .filter_map(|pid| Some((pid, Stat::read(pid)?)))
        .filter(|(_, stat)| !stat.dead && wanted(stat))
        .map(|(pid, stat)| Process { pid, started: stat.started })
        .collect()
}

pub(crate) struct Stat {
    /// A zombie holds its pid until it is waited for, but does nothing any more.
    dead: bool,
    frozen: bool,
    pub parent: u32,
    group: u32,
    pub started: u64,
    pub own_cpu: Duration,
    /// The time of children that have ended and were waited for, and of theirs.
    pub dead_cpu: Duration,
}

impl Stat {
    pub fn read(pid: u32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field is the program's name in brackets, which may itself hold `) `.
        let fields: Vec<&str> = text.rsplit_once(") ")?.1.split(' ').collect();
        let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
        let cpu = |user: usize| {
            Some(Duration::from_millis((number(user)? + number(user + 1)?) * TICK_MS))
        };
        Some(Self {
            dead: matches!(*fields.first()?, "Z" | "X"),
            frozen: matches!(*fields.first()?, "T" | "t"),
            parent: fields.get(1)?.parse().ok()?,
            group: fields.get(2)?.parse().ok()?,
            started: number(19)?,
            own_cpu: cpu(11)?,
            dead_cpu: cpu(13)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorded_process_is_found_again_but_not_a_later_one_with_its_pid() {
        let file = std::env::temp_dir().join(format!("quadrille-pid-{}", std::process::id()));
        let this = Process::of(std::process::id()).expect("this process runs");
        this.record(&file).expect("the temporary directory can be written");
        assert_eq!(Process::recorded(&file), Some(this));

        let earlier = Process { started: this.started - 1, ..this };
        earlier.record(&file).expect("the temporary directory can be written");
        assert_eq!(Process::recorded(&file), None);
        fs::remove_file(&file).ok();
    }

    #[test]
    fn a_frozen_process_is_told_with_what_lets_it_go_on() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("it starts");
        let process = Process::of(child.id()).expect("it runs");
        assert_eq!(process.frozen(), None);
        process.signal(Signal::SIGSTOP);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let runtime = runtime.expect("a runtime starts");
        let told = until(Duration::from_secs(5), || process.frozen());
        let told = runtime.block_on(told).expect("it freezes");
        assert!(told.contains(&format!("kill -CONT {}", process.pid)), "{told}");
        process.signal(Signal::SIGKILL);
        child.wait().expect("it can be waited for");
    }

    #[test]
    fn a_process_that_ended_but_was_not_waited_for_counts_as_gone() {
        let mut child = std::process::Command::new("true").spawn().expect("`true` starts");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let runtime = runtime.expect("a runtime starts");
        if let Some(process) = Process::of(child.id()) {
            assert!(runtime.block_on(process.ends_within(Duration::from_secs(5))));
        }
        child.wait().expect("it can be waited for");
    }
}
