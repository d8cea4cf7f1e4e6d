//! Finds free ports on 127.0.0.1, and the processes that listen on the others.
//!
//! All stay below the ephemeral range: polling a port of that range by connecting can, now and
//! then, connect to itself.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Result, bail};

use crate::Process;
use crate::process::every_pid;

const FIRST: u16 = 18_000;
const END: u16 = 32_000;

/// A port without a listener that no other caller of this function, in this process or another, is
/// given as long as this process lives.
pub fn free() -> Result<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let span = END - FIRST;
    // Processes begin the search at different ports, so that they rarely collide.
    let start = u16::try_from(std::process::id().wrapping_mul(97) % u32::from(span))?;
    for _ in 0..span {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + (start + step % span) % span;
        if reserve(port) && is_free(port) {
            return Ok(port);
        }
    }
    bail!("no port between {FIRST} and {END} is free on 127.0.0.1: stop some other servers first")
}

/// Whether a server could listen on this port of 127.0.0.1.
pub fn is_free(port: u16) -> bool {
    // A lingering connection does not block a server, and the standard library's listener allows
    // for it; another listener, on any address, does.
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// Whether any process listens on this port, checked without a connection to it.
pub fn is_listened_on(port: u16) -> bool {
    !listening_sockets(port).is_empty()
}

/// The process that listens on this port, if this user may see it.
pub fn holder(port: u16) -> Option<Process> {
    let sockets = listening_sockets(port);
    every_pid().find(|pid| holds_one(*pid, &sockets)).and_then(Process::of)
}

/// Names the owner of this port and the remedy, for an error.
pub fn complaint(port: u16, variable: &str) -> String {
    let holder = match holder(port) {
        Some(process) => {
            let name = process.name().unwrap_or_default();
            format!("pid {} ({name})", process.pid)
        }
        None => "another program".to_owned(),
    };
    format!(
        "port {port} ({variable}) is taken by {holder}: stop it or set {variable} in the \
         environment or .env"
    )
}

/// A name in the abstract socket namespace belongs to one process only; the kernel frees it when
/// the process dies, in whatever way.
#[cfg(target_os = "linux")]
fn reserve(port: u16) -> bool {
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::{SocketAddr, UnixListener};
    use std::sync::{Mutex, PoisonError};

    static RESERVED: Mutex<Vec<UnixListener>> = Mutex::new(Vec::new());
    let reserved = SocketAddr::from_abstract_name(format!("quadrille-port-{port}"))
        .and_then(|name| UnixListener::bind_addr(&name));
    let Ok(listener) = reserved else { return false };
    RESERVED.lock().unwrap_or_else(PoisonError::into_inner).push(listener);
    true
}

/// No other system has such names.
#[cfg(not(target_os = "linux"))]
const fn reserve(_port: u16) -> bool {
    true
}

/// The inodes of the sockets that listen on this port on any of this machine's addresses.
fn listening_sockets(port: u16) -> Vec<String> {
    const LISTEN: &str = "0A";
    let suffix = format!(":{port:04X}");
    ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| {
            let rows = table.lines().skip(1).map(|row| row.split_whitespace().collect::<Vec<_>>());
            rows.filter(|row| row.len() > 9 && row[1].ends_with(&suffix) && row[3] == LISTEN)
                .map(|row| row[9].to_owned())
                .collect::<Vec<_>>()
        })
        .collect()
}

fn holds_one(pid: u32, sockets: &[String]) -> bool {
    let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    files.flatten().filter_map(|file| fs::read_link(file.path()).ok()).any(|target| {
        let inode = target.to_str().and_then(|target| target.strip_prefix("socket:["));
        inode
            .is_some_and(|inode| sockets.iter().any(|socket| inode.trim_end_matches(']') == socket))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::thread;
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn nobody_is_given_a_port_twice() {
        let threads: Vec<_> =
            (0..8).map(|_| thread::spawn(|| (0..20).map(|_| free().unwrap()).collect())).collect();
        let lists: Vec<Vec<u16>> = threads.into_iter().map(|one| one.join().unwrap()).collect();
        let distinct: HashSet<u16> = lists.iter().flatten().copied().collect();
        assert_eq!(distinct.len(), 160);
        assert!(distinct.iter().all(|port| *port < 32_768));
    }

    #[test]
    fn a_taken_port_is_not_free_and_its_holder_is_named() {
        let port = free().unwrap();
        assert!(is_free(port) && holder(port).is_none());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        assert!(!is_free(port) && is_listened_on(port));
        assert_eq!(holder(port).unwrap().pid, std::process::id());
        let complaint = complaint(port, "ORDER_DB_PORT");
        let start = format!("port {port} (ORDER_DB_PORT) is taken by pid {} (", std::process::id());
        assert!(complaint.starts_with(&start), "{complaint}");
        drop(listener);
        // A child process of another test inherits the socket, from its fork to its exec.
        let until = Instant::now() + Duration::from_secs(10);
        while !is_free(port) {
            assert!(Instant::now() < until, "port {port} stays taken");
            thread::yield_now();
        }
    }
}
