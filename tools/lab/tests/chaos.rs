//! Runs a short `lab chaos` as a person does, on servers of its own. The services must have been
//! built (`cargo build --workspace`).

use std::path::PathBuf;
use std::process::{Command, Output};

use lab::chaos::can_shift_clocks;
use serde_json::Value;

fn lab(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lab"));
    command.arg("chaos").args(arguments).env("NO_COLOR", "1").output().unwrap()
}

#[test]
fn a_small_run_ends_well_and_reports_everything() {
    let folder = format!("chaos-{}", std::process::id());
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(folder);
    let faults = "service-kill,postgres-stop,link-reset,message";
    let output = lab(&[
        "--seed=7",
        "--for=12s",
        "--every=1s..2s",
        "--rate=25",
        "--mix=confirmed=6,declined=1,sold-out=1,carrier=1",
        &format!("--faults={faults}"),
        &format!("--report={}", folder.display()),
    ]);
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{complained}");
    assert!(said.contains("everything holds") && said.contains("lost 0, doubled 0"), "{said}");

    let json = std::fs::read_to_string(folder.join("report.json")).unwrap();
    let report: Value = serde_json::from_str(&json).unwrap();
    let left: Vec<_> =
        std::fs::read_dir(&folder).unwrap().flatten().map(|e| e.file_name()).collect();
    assert_eq!(left.len(), 1, "only the report is left: {left:?}");
    std::fs::remove_dir_all(&folder).unwrap();

    assert_eq!(report["seed"], 7);
    assert_eq!(report["breaks"], Value::Array(Vec::new()));
    assert_eq!((&report["lost"], &report["doubled"]), (&0.into(), &0.into()));
    assert_eq!(report["verify"]["outcome"], "clean");
    assert_eq!(report["poisoned"], report["dead_letters"]);
    let faults = report["faults"].as_array().unwrap();
    assert!(
        !faults.is_empty() && faults.iter().all(|fault| fault["error"].is_null()),
        "{faults:?}"
    );
    let orders = &report["orders"];
    assert!(orders["placed"].as_u64().unwrap() > 100, "{orders}");
    assert_eq!(orders["placed"], orders["finished"]);
    assert_eq!(orders["placed"], report["verify"]["checked"]["orders"]);
    assert!(!report["recovery"].as_array().unwrap().is_empty());
}

/// Runs only these faults, and returns the report.
fn alone(name: &str, faults: &str) -> Value {
    let folder = format!("chaos-{name}-{}", std::process::id());
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(folder);
    let output = lab(&[
        "--seed=7",
        "--for=15s",
        "--every=1s..2s",
        "--rate=15",
        "--mix=confirmed=6,declined=1,sold-out=1,carrier=1",
        "--json",
        &format!("--faults={faults}"),
        &format!("--report={}", folder.display()),
    ]);
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{complained}");
    std::fs::remove_dir_all(&folder).unwrap();
    serde_json::from_str(&said).unwrap()
}

#[test]
fn another_clock_and_another_schema_change_nothing() {
    let faults = if can_shift_clocks() { "clock,upgrade" } else { "upgrade" };
    let report = alone("releases", faults);
    assert_eq!(report["verify"]["outcome"], "clean");
    let done = &report["faults_by_name"];
    assert!(done["upgrade"].as_u64().unwrap() > 0, "{done}");
    let memory = report["memory"].as_array().unwrap();
    assert!(memory.len() == 4 && memory.iter().all(|peak| peak["limit_mb"] == 256.0), "{memory:?}");
}

#[test]
fn an_unknown_fault_is_told_with_all_that_there_are() {
    let output = lab(&["--faults=broker,earthquake"]);
    assert_eq!(output.status.code(), Some(2));
    let complained = String::from_utf8_lossy(&output.stderr);
    for told in ["\"earthquake\" is no fault", "service-kill", "link-half-open", "message-poison"] {
        assert!(complained.contains(told), "{complained}");
    }
}
