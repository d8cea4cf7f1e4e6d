//! Finds out whether the containers are a cluster's.

use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A container that only a cluster has.
const MARK: &str = "label=com.docker.compose.service=rabbitmq-2";
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Whether the Compose project has such a container, running or not. No, where Docker is not used,
/// or says nothing.
pub fn hold_cluster(project: &str) -> bool {
    let project = format!("label=com.docker.compose.project={project}");
    let mut docker = Command::new("docker");
    docker.args(["ps", "--all", "--quiet", "--filter", &project, "--filter", MARK]);
    docker.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let Ok(mut listing) = docker.spawn() else { return false };
    let deadline = Instant::now() + ANSWER_WITHIN;
    while matches!(listing.try_wait(), Ok(None)) && Instant::now() < deadline {
        sleep(POLL_INTERVAL);
    }
    listing.kill().ok();
    listing.wait_with_output().is_ok_and(|listed| !listed.stdout.is_empty())
}
