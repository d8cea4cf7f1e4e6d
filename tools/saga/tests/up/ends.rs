//! Tests how the command ends: its exit codes.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

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
