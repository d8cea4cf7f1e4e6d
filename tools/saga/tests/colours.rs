//! Output is coloured only on a terminal, and never with NO_COLOR set. `script` provides the
//! terminal.

use std::process::Command;

const ESCAPE: char = '\u{1b}';

fn on_a_terminal(arguments: &str, no_color: &str) -> String {
    let saga = env!("CARGO_BIN_EXE_saga");
    let mut script = Command::new("script");
    script.args(["-qec", &format!("{saga} {arguments}"), "/dev/null"]);
    script.env("TERM", "xterm").env("NO_COLOR", no_color).env("SAGA_HOME", "/nothing/is/here");
    String::from_utf8(script.output().unwrap().stdout).unwrap()
}

#[test]
fn a_terminal_is_shown_colours_unless_it_is_asked_not_to() {
    for arguments in ["status", "why --help"] {
        let coloured = on_a_terminal(arguments, "");
        assert!(coloured.contains(ESCAPE), "saga {arguments}: {coloured}");
        let plain = on_a_terminal(arguments, "1");
        assert!(!plain.is_empty() && !plain.contains(ESCAPE), "saga {arguments}: {plain}");
    }
}

#[test]
fn a_file_is_shown_none() {
    for arguments in [&["status"][..], &["--help"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_saga"))
            .args(arguments)
            .env_remove("NO_COLOR")
            .env("SAGA_HOME", "/nothing/is/here")
            .output()
            .unwrap();
        let told = String::from_utf8(output.stdout).unwrap();
        assert!(!told.is_empty() && !told.contains(ESCAPE), "{told}");
    }
}
