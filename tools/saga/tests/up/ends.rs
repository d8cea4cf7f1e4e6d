//! Tests how the command ends: its exit codes, and signals to the first process of a container.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
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

#[test]
fn output_that_cannot_be_written_is_a_failure_but_a_closed_pipe_is_none() {
    for arguments in [&["topology"][..], &["urls"], &["completions", "bash"], &["stop"]] {
        let mut saga = Command::new(SAGA);
        saga.args(arguments).envs([NOWHERE]).env_remove("CLUSTER").stderr(Stdio::piped());
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = saga.stdout(full).spawn().unwrap().wait_with_output().unwrap();
        let complained = text(&output).1;
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {complained}");
        let is_told = complained.contains("cannot write") && complained.contains("No space left");
        assert!(is_told, "{arguments:?}: {complained}");

        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = saga.stdout(writer).spawn().unwrap().wait_with_output().unwrap();
        assert_eq!((output.status.code(), text(&output).1), (Some(0), String::new()));
    }
}

#[test]
fn logs_that_nothing_has_written_yet_are_not_waited_for() {
    for arguments in [&["logs"][..], &["logs", "--no-follow", "order"]] {
        let mut saga = Command::new("timeout");
        let output = saga.args(["10", SAGA]).args(arguments).envs([NOWHERE]).output().unwrap();
        let complained = text(&output).1;
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {complained}");
        assert!(complained.contains("`saga up` starts the services"), "{complained}");
    }
}

#[test]
fn what_belongs_to_another_user_is_not_called_stopped() {
    if !Uid::effective().is_root() {
        return eprintln!("skipped: only root can be two users");
    }
    const OTHER: u32 = 65534;
    let home = std::env::temp_dir().join(format!("saga-other-{}", std::process::id()));
    fs::create_dir_all(home.join("pids")).unwrap();
    fs::write(home.join(".saga"), "").unwrap();
    let mut child = Command::new("sleep").arg("60").spawn().unwrap();
    let pid_file = home.join("pids/order");
    let process = Process::of(child.id()).unwrap();
    process.record(&pid_file).unwrap();
    for path in [&home, &home.join("pids"), &pid_file] {
        chown(path, Some(OTHER), Some(OTHER)).unwrap();
    }
    let mut saga = Command::new(SAGA);
    saga.arg("stop").env("SAGA_HOME", &home).uid(OTHER).gid(OTHER).current_dir("/");
    let output = saga.output();
    let lives = process.is_alive() && pid_file.exists();
    child.kill().unwrap();
    child.wait().unwrap();
    fs::remove_dir_all(&home).unwrap();
    let output = match output {
        Err(why) if why.kind() == ErrorKind::PermissionDenied => {
            return eprintln!("skipped: another user cannot run {SAGA}");
        }
        output => output.unwrap(),
    };
    let (said, complained) = text(&output);
    assert_eq!((output.status.code(), lives), (Some(1), true), "{said}{complained}");
    assert!(!said.contains("stopped"), "{said}");
    let told = format!("pid {} belongs to another user: run it as root", process.pid);
    assert!(complained.contains(&told), "{complained}");
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
