//! Runs `lab bench` as a person does, on one of its systems. The services must have been built
//! (`cargo build --workspace`).

use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;

fn lab(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lab"));
    command.arg("bench").args(arguments).env("NO_COLOR", "1").output().unwrap()
}

#[test]
fn a_system_of_classic_queues_is_measured_and_verified() {
    let folder = format!("bench-{}", std::process::id());
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(folder);
    let output = lab(&[
        "--only=classic",
        "--rounds=1",
        "--orders=40",
        &format!("--report={}", folder.display()),
        "--json",
    ]);
    let complained = String::from_utf8_lossy(&output.stderr);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{complained}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let row = &report["rows"][0];
    assert_eq!(
        (&row["name"], &row["each_round"][0]["orders"]),
        (&"classic queues".into(), &40.into())
    );
    let is_positive = |value: &Value| value.as_f64().is_some_and(|number| number > 0.0);
    for group in ["services", "postgres", "rabbitmq", "load"] {
        let group = &row["groups"][group];
        assert!(is_positive(&group["cpu_s_per_1000_orders"]) && is_positive(&group["pss_mb"]));
    }
    assert!(is_positive(&row["orders_per_s"]) && is_positive(&row["final_ms"]["p99"]), "{row}");
    assert_eq!(report["breaks"], Value::Array(Vec::new()));
    let kept = std::fs::read_to_string(folder.join("report.json")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&kept).unwrap(), report);
    let left: Vec<_> =
        std::fs::read_dir(&folder).unwrap().flatten().map(|e| e.file_name()).collect();
    assert_eq!(left, ["report.json"], "the servers and their data are gone");
    std::fs::remove_dir_all(&folder).unwrap();
}
