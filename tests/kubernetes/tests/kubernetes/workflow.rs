//! Each GitHub workflow step can be run by hand, and the workflow has no dangerous permission.

use kubernetes::{documents, items, services, sorted};
use serde_json::Value;
use std::{collections::BTreeSet, fs, os::unix::fs::PermissionsExt, path::Path, process::Command};
use tidy::{make_targets, read, root};

const WORKFLOWS: [&str; 3] = ["ci", "release", "pages"];

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
    for (job, line) in WORKFLOWS.into_iter().flat_map(lines) {
        for target in line.strip_prefix("make ").into_iter().flat_map(str::split_whitespace) {
            assert!(targets.contains(target), "{job} calls `make {target}`: no such target");
            called.insert(target.to_owned());
        }
    }
    assert_eq!(
        called,
        BTreeSet::from(
            ["alerts", "ci", "dist", "docker-test", "sbom", "semver", "site"].map(Into::into)
        )
    );
}

#[test]
fn every_job_ends_in_time() {
    for (job, steps) in WORKFLOWS.into_iter().flat_map(jobs) {
        assert!(steps["timeout-minutes"].is_u64(), "{job} has no time limit");
    }
}

#[test]
fn ci_may_only_read() {
    let workflow = workflow("ci");
    assert_eq!(workflow["concurrency"]["cancel-in-progress"], true);
    for (job, steps) in jobs("ci") {
        assert_eq!(steps["permissions"], Value::Null, "{job} may do more than the others");
    }
}

#[test]
pub fn the_release_is_made_of_scripts_that_exist() {
    for (_, steps) in jobs("release") {
        assert!(
            items(&steps["steps"])
                .iter()
                .all(|it| it.get("run").is_some() != it.get("uses").is_some())
        );
    }
    let lines = lines("release");
    let scripts: Vec<_> = lines.iter().filter(|(_, line)| line.starts_with("deploy/")).collect();
    assert_eq!(scripts.len(), 4);
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

/// The runner makes the folder as another user than the container's, and Git refuses to read it:
/// the tests would fail, and the release would have no date.
#[test]
fn a_job_in_a_container_trusts_its_checkout_before_make() {
    for (workflow, job, steps) in WORKFLOWS.into_iter().flat_map(|workflow| {
        jobs(workflow).into_iter().map(move |(job, steps)| (workflow, job, steps))
    }) {
        if steps["container"].is_null() {
            continue;
        }
        let scripts = items(&steps["steps"]).iter().filter_map(|step| step["run"].as_str());
        let script = scripts.collect::<Vec<_>>().join("\n");
        let (before, _) = script.split_once("make ").expect("it makes something");
        let trusts = "git config --global --add safe.directory \"$PWD\"";
        assert!(before.contains(trusts), "{workflow}: {job}");
    }
}

/// A release that does not say what has changed, or whose files are named for another, would be
/// published all the same.
#[test]
fn a_release_has_the_changelogs_section_as_its_text_and_the_version_of_the_sources() {
    let notes = |root: &Path, version: &str| {
        let script = root.join("deploy/release-notes.sh");
        let told = Command::new("sh").arg(script).arg(version).output().expect("sh runs");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        (told.status.success(), text(told.stdout), text(told.stderr))
    };
    let (is_fine, text, _) = notes(&root(), "Unreleased");
    assert!(is_fine && text.contains("### Added") && !text.contains("\n## "), "{text}");

    let tree = tempfile::tempdir().expect("a directory");
    fs::create_dir(tree.path().join("deploy")).expect("another");
    let script = "deploy/release-notes.sh";
    fs::copy(root().join(script), tree.path().join(script)).expect("it is there");
    let write = |file: &str, text: &str| fs::write(tree.path().join(file), text).expect("written");
    write("Cargo.toml", "[workspace.package]\nversion = \"1.2.3\"\n");
    write("CHANGELOG.md", "## Unreleased\n\n## 1.2.4\n\nB\n\n## 1.2.2\n\nA\n");
    let (_, none, why) = notes(tree.path(), "v1.2.3");
    assert!(none.is_empty() && why.contains("has no section `## 1.2.3`"), "{why}");
    let (_, none, why) = notes(tree.path(), "v1.2.4");
    assert!(none.is_empty() && why.contains("has the version 1.2.3, and not 1.2.4"), "{why}");
    write("CHANGELOG.md", "## 1.2.3 - 2026-12-01\n\nC\n\n## 1.2.2\n\nA\n");
    assert_eq!(notes(tree.path(), "v1.2.3"), (true, "\nC\n".into(), String::new()));
}
