//! The workflows run nothing that another can exchange.

use tidy::read;

const WORKFLOWS: [&str; 3] =
    [".github/workflows/ci.yml", ".github/workflows/release.yml", ".github/workflows/pages.yml"];

#[test]
fn actions_are_run_by_their_commits_only() {
    for workflow in WORKFLOWS {
        let text = read(workflow);
        let actions: Vec<_> = text.lines().filter_map(|line| line.split_once("uses: ")).collect();
        assert!(!actions.is_empty(), "{workflow} uses no action: drop this test");
        for (_, action) in actions {
            let (_, pin) = action.split_once('@').unwrap_or_default();
            let (commit, version) = pin.split_once(" # v").unwrap_or_default();
            let is_commit = commit.len() == 40 && commit.bytes().all(|c| c.is_ascii_hexdigit());
            assert!(
                is_commit && !version.is_empty(),
                "{workflow} uses {action}: write …@<40 digits of the commit> # v<version>"
            );
        }
    }
}

#[test]
fn a_workflow_may_only_read_unless_a_job_says_more() {
    for workflow in WORKFLOWS {
        let text = read(workflow);
        let (before_jobs, _) = text.split_once("\njobs:").expect("it has jobs");
        assert!(before_jobs.contains("\npermissions:\n  contents: read\n"), "{workflow}");
    }
}
