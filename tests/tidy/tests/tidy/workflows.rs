//! The workflow that signs releases runs nothing that another can exchange.

use tidy::read;

const RELEASE: &str = ".github/workflows/release.yml";

#[test]
fn the_release_runs_actions_by_their_commits_only() {
    let text = read(RELEASE);
    let actions: Vec<_> = text.lines().filter_map(|line| line.split_once("uses: ")).collect();
    assert!(!actions.is_empty(), "{RELEASE} uses no action: drop this test");
    for (_, action) in actions {
        let (_, pin) = action.split_once('@').unwrap_or_default();
        let (commit, version) = pin.split_once(" # v").unwrap_or_default();
        let is_commit = commit.len() == 40 && commit.bytes().all(|c| c.is_ascii_hexdigit());
        assert!(
            is_commit && !version.is_empty(),
            "{RELEASE} uses {action}: write …@<40 digits of the commit> # v<version>"
        );
    }
}

#[test]
fn the_release_may_only_read_unless_a_job_says_more() {
    let text = read(RELEASE);
    let (before_jobs, _) = text.split_once("\njobs:").expect("it has jobs");
    assert!(before_jobs.contains("\npermissions:\n  contents: read\n"), "{RELEASE}");
}
