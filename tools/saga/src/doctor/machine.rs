//! Checks the requirements of `make up` on this machine.

use std::fs;
use std::net::ToSocketAddrs;

use chrono::{DateTime, Utc};
use kit::disk::free_mb;
use kit::home::Servers;
use kit::service::Service;
use kit::settings::Settings;
use messaging::{Env, SystemEnv};
use servers::install;
use tokio::process::Command;

use super::{Finding, Mark};
use crate::cmd::up::{ROOM_MB, taken_ports};

/// The memory for a broker, four databases and five processes; and the amount that is too little.
const MEMORY_MB: u64 = 1000;
const MEMORY_MIN_MB: u64 = 500;
const FILES_MIN: u64 = 1024;
/// The first version with at-least-once dead-lettering.
const RABBITMQ_MIN: &str = "3.10";

pub async fn examine(settings: &Settings, services: &[Service]) -> Vec<Finding> {
    let is_built = services.iter().all(|service| service.check_binary().is_ok());
    let mut findings = tools(is_built).await;
    findings.extend(install::packages().into_iter().map(package));
    findings.extend(disk(settings));
    let memory = fs::read_to_string("/proc/meminfo").ok();
    findings.extend(memory.and_then(|text| Some(self::memory(available_mb(&text)?))));
    let limits = fs::read_to_string("/proc/self/limits").ok();
    findings.extend(limits.and_then(|text| Some(files(open_files(&text)?))));
    findings.extend(tokio::task::spawn_blocking(names).await.unwrap_or_default());
    findings.extend(clock());
    findings
}

/// The build tools. Where the binaries are built, they are not needed.
async fn tools(is_built: bool) -> Vec<Finding> {
    const RUST: &str = env!("CARGO_PKG_RUST_VERSION");
    let needed = [
        ("rust", "cargo", "install it, as https://rustup.rs says".to_owned()),
        ("linker", "cc", "`apt-get install build-essential`, as root".to_owned()),
        ("make", "make", "`apt-get install make`, as root".to_owned()),
    ];
    let mut findings = Vec::new();
    for (what, program, mend) in needed {
        let told = Command::new(program).arg("--version").output().await.ok();
        let told = told.and_then(|told| String::from_utf8(told.stdout).ok());
        let told = told.and_then(|told| Some(told.lines().next()?.trim().to_owned()));
        let mark = if is_built { Mark::Odd } else { Mark::Wrong };
        findings.push(match told {
            None => {
                Finding { mark, ..Finding::wrong(what, format!("`{program}` is missing"), mend) }
            }
            Some(told) if what == "rust" && is_older(told.trim_start_matches("cargo "), RUST) => {
                let mend = format!("`rustup update`: it takes {RUST}");
                Finding { mark, ..Finding::wrong(what, format!("{told} is too old"), mend) }
            }
            Some(told) => Finding::fine(what, told),
        });
    }
    findings
}

fn package((name, version): (&'static str, Option<String>)) -> Finding {
    match version {
        Some(old) if name == "rabbitmq-server" && is_older(&old, RABBITMQ_MIN) => {
            let mend = format!("install {RABBITMQ_MIN} or newer");
            Finding::wrong(name, format!("{old} is too old"), mend)
        }
        Some(version) => Finding::fine(name, version),
        None if install::can_install() => {
            Finding::odd(name, "is not installed", "`make up` installs it")
        }
        None => {
            let mend = format!("`apt-get install {name}`, as root");
            Finding::wrong(name, "is not installed", mend)
        }
    }
}

fn disk(settings: &Settings) -> Option<Finding> {
    let free = free_mb(&settings.home)?;
    let told = format!("{free} MB free for {}", settings.home.display());
    Some(match free {
        ROOM_MB.. => Finding::fine("disk", told),
        _ => {
            let mend =
                format!("free some, or name another disk by SAGA_HOME: it takes {ROOM_MB} MB");
            Finding::wrong("disk", told, mend)
        }
    })
}

fn memory(free_mb: u64) -> Finding {
    let told = format!("{free_mb} MB free");
    let mend = format!("end other programs: it takes some {MEMORY_MB} MB");
    match free_mb {
        MEMORY_MB.. => Finding::fine("memory", told),
        MEMORY_MIN_MB.. => Finding::odd("memory", told, mend),
        _ => Finding::wrong("memory", told, mend),
    }
}

fn available_mb(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kilobytes: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kilobytes * 1024 / 1_000_000)
}

fn files(most: u64) -> Finding {
    let told = format!("{most} files may be open");
    match most {
        FILES_MIN.. => Finding::fine("ulimit -n", told),
        _ => Finding::wrong("ulimit -n", told, "`ulimit -n 4096`: RabbitMQ and Postgres need more"),
    }
}

fn open_files(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    let most = line.split_whitespace().next()?;
    if most == "unlimited" { Some(u64::MAX) } else { most.parse().ok() }
}

/// Erlang, and so RabbitMQ, resolves the host name when it starts.
fn names() -> Vec<Finding> {
    let resolve = |name: &str| (name, 0).to_socket_addrs().map(Vec::from_iter).unwrap_or_default();
    let local = resolve("localhost");
    let localhost = match local.iter().any(|address| address.ip().is_loopback()) {
        true => Finding::fine("localhost", "is this machine"),
        false => {
            let told = "does not lead to this machine, and RabbitMQ does not start";
            Finding::wrong("localhost", told, "write `127.0.0.1 localhost` into /etc/hosts")
        }
    };
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    let host = match resolve(name).is_empty() {
        false => Finding::fine("host name", format!("{name} resolves")),
        true => {
            let mend = format!("write `127.0.1.1 {name}` into /etc/hosts");
            Finding::odd("host name", format!("{name} does not resolve"), mend)
        }
    };
    vec![localhost, host]
}

/// Ids contain the time, and certificates, caches and retries depend on it.
fn clock() -> Option<Finding> {
    let built = fs::metadata(std::env::current_exe().ok()?).ok()?.modified().ok()?;
    Some(match SystemEnv.now() < DateTime::<Utc>::from(built) {
        false => Finding::fine("clock", "is later than this program"),
        true => Finding::wrong(
            "clock",
            "is before this program was built: events would seem to come from the past",
            "set it, as `timedatectl set-ntp true` does",
        ),
    })
}

pub fn ports(settings: &Settings, servers: &Servers, services: &[Service]) -> Vec<Finding> {
    let taken = taken_ports(servers, services);
    if taken.is_empty() {
        let all: Vec<_> = settings.ports().iter().map(|(port, _)| port.to_string()).collect();
        return vec![Finding::fine("ports", format!("{} are free or ours", all.join(", ")))];
    }
    let told = taken.iter().map(|complaint| {
        let (told, mend) = complaint.split_once(": ").unwrap_or((complaint, ""));
        Finding::wrong("ports", told, mend)
    });
    told.collect()
}

/// Compares the leading numbers.
pub fn is_older(version: &str, than: &str) -> bool {
    let numbers = |text: &str| -> Vec<u64> {
        let digits = |part: &str| part.chars().take_while(char::is_ascii_digit).collect::<String>();
        text.split('.').map_while(|part| digits(part).parse().ok()).collect()
    };
    numbers(version) < numbers(than)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        assert!(is_older("3.9.27", "3.10") && is_older("1.93.1 (abc)", "1.94"));
        assert!(!is_older("3.10.8", "3.10") && !is_older("4.0", "3.10"));
        assert!(!is_older("25.0.3+dfsg1", "25") && !is_older("1.95.0 (f2d3ce0bd)", "1.94"));
    }

    #[test]
    fn what_the_kernel_tells_is_read() {
        assert_eq!(available_mb("MemTotal: 9 kB\nMemAvailable:    2000000 kB\n"), Some(2048));
        let limits =
            "Limit   Soft Limit   Hard Limit   Units\nMax open files   256   4096   files\n";
        assert_eq!(open_files(limits), Some(256));
    }

    #[test]
    fn too_little_is_wrong_and_says_what_helps() {
        let marks = [memory(300), memory(700), memory(4000), files(256), files(1024)];
        let expected = [Mark::Wrong, Mark::Odd, Mark::Fine, Mark::Wrong, Mark::Fine];
        assert_eq!(marks.each_ref().map(|finding| finding.mark), expected);
        assert!(marks.iter().all(|it| it.mend.is_some() == (it.mark != Mark::Fine)));
    }
}
