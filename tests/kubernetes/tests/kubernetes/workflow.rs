//! Each GitHub workflow step can be run by hand, and the workflow has no dangerous permission.

use kubernetes::{documents, items, services, sorted};
use serde_json::Value;
use std::{collections::BTreeSet, os::unix::fs::PermissionsExt, process::Command};
use tidy::{make_targets, read, root};

fn workflow(name: &str) -> Value {
    documents(&read(&format!(".github/workflows/{name}.yml"))).remove(0)
}

fn jobs(workflow: &str) -> Vec<(String, Value)> {
    let jobs = self::workflow(workflow)["jobs"].as_object().cloned().expect("there are jobs");
    jobs.into_iter().collect()
}

/// The lines of all scripts, each with its job.
fn lines(workflow: &str) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    for (job, steps) in jobs(workflow) {
        let scripts = items(&steps["steps"]).iter().filter_map(|step| step["run"].as_str());
        let trimmed = scripts.flat_map(str::lines).map(|line| line.trim().to_owned());
        lines.extend(trimmed.map(|line| (job.clone(), line)));
    }
    lines
}

#[test]
fn every_make_target_that_ci_calls_exists() {
    let targets: BTreeSet<_> = make_targets().map(|(name, _)| name).collect();
    let mut called = BTreeSet::new();
    for (job, line) in lines("ci").into_iter().chain(lines("release")) {
        for target in line.strip_prefix("make ").into_iter().flat_map(str::split_whitespace) {
            assert!(targets.contains(target), "{job} calls `make {target}`: no such target");
            called.insert(target.to_owned());
        }
    }
    assert_eq!(
        called,
        BTreeSet::from(["alerts", "ci", "dist", "docker-test", "sbom", "semver"].map(Into::into))
    );
}

#[test]
fn ci_may_only_read_and_ends_in_time() {
    let workflow = workflow("ci");
    assert_eq!(workflow["concurrency"]["cancel-in-progress"], true);
    for (job, steps) in jobs("ci") {
        assert!(steps["timeout-minutes"].is_u64(), "{job} has no time limit");
        assert_eq!(steps["permissions"], Value::Null, "{job} may do more than the others");
    }
}

#[test]
pub fn the_release_is_made_of_scripts_that_exist_and_ends_in_time() {
    for (job, steps) in jobs("release") {
        assert!(steps["timeout-minutes"].is_u64(), "{job} has no time limit");
        assert!(
            items(&steps["steps"])
                .iter()
                .all(|it| it.get("run").is_some() != it.get("uses").is_some())
        );
    }
    let lines = lines("release");
    let scripts: Vec<_> = lines.iter().filter(|(_, line)| line.starts_with("deploy/")).collect();
    assert_eq!(scripts.len(), 3);
    for (job, line) in scripts {
        let path = line.split(' ').next().unwrap_or_default();
        let mode = root().join(path).metadata().expect("it is there").permissions().mode();
        assert!(mode & 0o100 != 0, "{job}: {path} cannot be run");
    }
    let publishes = read("deploy/docker/publish.sh");
    let listed =
        publishes.lines().find_map(|line| line.strip_prefix("services=(")?.strip_suffix(')'));
    assert_eq!(sorted(listed.expect("they are listed").split(' ')), services());
}

/// A release without a word on what has changed would be published all the same.
#[test]
fn a_release_has_the_changelogs_section_as_its_text() {
    let notes = |version: &str| {
        let script = root().join("deploy/release-notes.sh");
        Command::new("sh").arg(script).arg(version).output().expect("sh runs")
    };
    let told = notes("Unreleased");
    let text = String::from_utf8(told.stdout).expect("text");
    assert!(
        told.status.success() && text.contains("### Added") && !text.contains("\n## "),
        "{text}"
    );
    let none = notes("v0.0.0");
    assert!(!none.status.success() && none.stdout.is_empty());
}
