//! Each GitHub workflow step can be run by hand, and the workflow has no dangerous permission.

use kubernetes::{documents, items, text};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tidy::{make_targets, read};

fn workflow() -> Value {
    documents(&read(".github/workflows/ci.yml")).remove(0)
}

fn jobs() -> Vec<(String, Value)> {
    let jobs = workflow()["jobs"].as_object().cloned().expect("there are jobs");
    jobs.into_iter().collect()
}

#[test]
fn every_make_target_that_ci_calls_exists() {
    let targets: BTreeSet<_> = make_targets().map(|(name, _)| name).collect();
    let mut called = BTreeSet::new();
    for (job, steps) in jobs() {
        let steps = items(&steps["steps"]).iter();
        let lines = steps.filter_map(|step| step["run"].as_str()).flat_map(str::lines);
        for target in lines.filter_map(|line| line.trim().strip_prefix("make ")) {
            assert!(targets.contains(target), "{job} calls `make {target}`: no such target");
            called.insert(target.to_owned());
        }
    }
    assert_eq!(called, BTreeSet::from(["alerts", "ci", "docker-test"].map(Into::into)));
}

#[test]
fn ci_may_only_read_and_ends_in_time() {
    let workflow = workflow();
    assert_eq!(workflow["permissions"], json!({ "contents": "read" }));
    assert_eq!(workflow["concurrency"]["cancel-in-progress"], true);
    for (job, steps) in jobs() {
        assert!(steps["timeout-minutes"].is_u64(), "{job} has no time limit");
        assert_eq!(steps["permissions"], Value::Null, "{job} may do more than the others");
        for action in items(&steps["steps"]).iter().filter_map(|step| step.get("uses")) {
            let version = text(action).split_once("@v").expect("a major version").1;
            assert!(version.parse::<u32>().is_ok(), "{job} uses {action}");
        }
    }
}
