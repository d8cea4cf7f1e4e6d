//! Tests how the command ends: its exit codes, and signals to the first process of a container.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::Uid;
use servers::Process;

use crate::text;

const SAGA: &str = env!("CARGO_BIN_EXE_saga");
/// A system of its own that is nowhere.
const NOWHERE: (&str, &str) = ("SAGA_HOME", "/nothing/is/here");

#[test]
fn a_verify_that_cannot_check_breaks_no_invariant() {
    let refused = |arguments: &[&str], variable: (&str, &str)| {
        let mut saga = Command::new(SAGA);
        saga.arg("verify").args(arguments).envs([NOWHERE, variable]);
        let output = saga.output().unwrap();
        let complained = text(&output).1;
        assert_eq!(output.status.code(), Some(2), "{arguments:?} {variable:?}: {complained}");
        assert!(complained.contains("cannot check"), "{complained}");
    };
    let none = ("NOTHING", "");
    refused(&["--places", "/nothing/is/here"], none);
    refused(&["--places", "/dev/null"], none);
    refused(&[], ("ORDER_DB_PORT", "many"));
    refused(&[], ("TLS", "perhaps"));
    // In the image, the settings are read before the command is.
    let mut saga = Command::new(SAGA);
    saga.arg("verify").envs([NOWHERE, ("FORWARD_PORTS", "1"), ("TLS", "perhaps")]);
    assert_eq!(saga.output().unwrap().status.code(), Some(2));
}

#[test]
fn a_watch_goes_on_when_it_cannot_check() {
    let mut saga = Command::new(SAGA);
    saga.args(["verify", "--since-last", "--watch", "1", "--places", "/nothing/is/here"]);
    let mut saga = saga.stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(saga.stderr.take().unwrap()).lines();
    for _ in 0..2 {
        let line = lines.next().expect("it goes on").unwrap();
        assert!(line.contains("cannot check"), "{line}");
    }
    saga.kill().unwrap();
    saga.wait().unwrap();
}

/// Starts `saga` as the first process of a namespace, as in a container, with an input that stays
/// open. Returns it when it listens to signals.
fn first(arguments: &[&str]) -> (Child, Process) {
    let mut unshare = Command::new("unshare");
    unshare.args(["--pid", "--fork", "--mount-proc", "--kill-child", SAGA]).args(arguments);
    unshare.envs([NOWHERE]).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut unshare = unshare.spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let children = Process::of(unshare.id()).map(|it| it.children()).unwrap_or_default();
        let listening = children.into_iter().find(|child| listens(child.pid));
        if let Some(process) = listening {
            return (unshare, process);
        }
        assert_eq!(unshare.try_wait().unwrap(), None, "it runs");
        assert!(Instant::now() < deadline, "it listens to no signal");
        std::thread::yield_now();
    }
}

/// Whether it has a handler for SIGTERM, by the kernel's word.
fn listens(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // `unshare` itself may catch some before it becomes `saga`.
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    name.trim() == "saga"
        && caught.is_some_and(|mask| (mask >> (Signal::SIGTERM as u32 - 1)) & 1 == 1)
}

#[test]
fn the_first_process_of_a_container_ends_by_a_signal_too() {
    if !Uid::effective().is_root() {
        return eprintln!("skipped: only root can make a namespace everywhere");
    }
    let probe = Command::new("unshare").args(["--pid", "--fork", "--mount-proc", "true"]).output();
    match probe {
        Ok(output) if output.status.success() => {}
        why => return eprintln!("skipped: no namespace can be made here: {why:?}"),
    }
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        // It waits for its input.
        let (mut unshare, saga) = first(&["mcp"]);
        saga.signal(signal);
        assert_eq!(unshare.wait().unwrap().code(), Some(code), "{signal}");
    }
}
