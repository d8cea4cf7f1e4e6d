//! Measures the processor time and memory of processes, by /proc: a server's includes its
//! children's.

use std::collections::HashMap;
use std::fs;
use std::iter::Sum;
use std::time::Duration;

use crate::Process;
use crate::process::{Stat, every_pid};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    pub rss_kb: u64,
    /// Shared memory is divided among the processes that share it, so that sums are right.
    pub pss_kb: u64,
}

impl Sum for Memory {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            rss_kb: sum.rss_kb + one.rss_kb,
            pss_kb: sum.pss_kb + one.pss_kb,
        })
    }
}

impl Process {
    /// The processor time of this process alone.
    pub fn own_cpu(&self) -> Duration {
        let stat = Stat::read(self.pid).filter(|stat| stat.started == self.started);
        stat.map_or(Duration::ZERO, |stat| stat.own_cpu)
    }

    /// The memory of this process alone; none where this user may not read it.
    pub fn own_memory(&self) -> Option<Memory> {
        let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid)).ok()?;
        let kb = |name: &str| {
            let line = rollup.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().trim_end_matches(" kB").parse().ok()
        };
        Some(Memory { rss_kb: kb("Rss:")?, pss_kb: kb("Pss:")? })
    }
}

/// The processor time of each of these, with all its children, also ended ones.
pub fn cpu_of(roots: &[Process]) -> Vec<Duration> {
    let of =
        |tree: Vec<(u32, &Stat)>| tree.iter().map(|(_, stat)| stat.own_cpu + stat.dead_cpu).sum();
    each_tree(roots, of)
}

/// The memory of each of these, with all its children.
pub fn memory_of(roots: &[Process]) -> Vec<Memory> {
    let of = |tree: Vec<(u32, &Stat)>| {
        let members = tree.iter().map(|(pid, stat)| Process { pid: *pid, started: stat.started });
        members.filter_map(|process| process.own_memory()).sum()
    };
    each_tree(roots, of)
}

/// Reads all of /proc once.
fn each_tree<T>(roots: &[Process], of: impl Fn(Vec<(u32, &Stat)>) -> T) -> Vec<T> {
    let all: HashMap<u32, Stat> =
        every_pid().filter_map(|pid| Some((pid, Stat::read(pid)?))).collect();
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for (pid, stat) in &all {
        children.entry(stat.parent).or_default().push(*pid);
    }
    let tree = |root: &Process| {
        let is_it = |pid: &u32| all.get(pid).is_some_and(|stat| stat.started == root.started);
        let mut pids: Vec<u32> = Some(root.pid).filter(is_it).into_iter().collect();
        let mut at = 0;
        while let Some(pid) = pids.get(at) {
            pids.extend(children.get(pid).into_iter().flatten());
            at += 1;
        }
        of(pids.into_iter().filter_map(|pid| Some((pid, all.get(&pid)?))).collect())
    };
    roots.iter().map(tree).collect()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};
    use std::thread::sleep;
    use std::time::Instant;

    use super::*;

    #[test]
    fn what_its_children_do_counts_also_after_their_end() {
        let busy = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done";
        let script = format!("sh -c '{busy}'; read line");
        let mut shell = Command::new("sh")
            .args(["-c", &script])
            .stdin(Stdio::piped())
            .spawn()
            .expect("a shell starts");
        let process = Process::of(shell.id()).expect("it runs");
        let deadline = Instant::now() + Duration::from_secs(60);
        let worked = || cpu_of(&[process])[0] >= Duration::from_millis(30);
        while !(worked() && process.children().is_empty()) && Instant::now() < deadline {
            sleep(Duration::from_millis(5));
        }
        assert!(worked() && process.children().is_empty(), "{:?}", cpu_of(&[process]));
        assert!(process.own_cpu() < cpu_of(&[process])[0]);
        let memory = memory_of(&[process])[0];
        assert!(memory.pss_kb > 0 && memory.pss_kb <= memory.rss_kb, "{memory:?}");
        shell.kill().expect("it can be killed");
        shell.wait().expect("it can be waited for");
        assert_eq!(cpu_of(&[process]), [Duration::ZERO], "it is gone");
    }
}
