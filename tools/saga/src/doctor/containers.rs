//! Checks the containers, if there are any.

use super::{DOCKER_STARTS, Finding, Mark, machine::is_older, running::LOCKS};
use crate::compose::{Compose, Container};

const ENGINE_MIN: &str = "25";
const COMPOSE_MIN: &str = "2.26";

pub struct Found {
    compose: Compose,
    containers: Vec<Container>,
}

/// Checks nothing where Docker is not used.
pub async fn find() -> Option<Found> {
    let (compose, containers) = Compose::attach().await.ok()?;
    Some(Found { compose, containers })
}

impl Found {
    pub async fn examine(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let [engine, compose] = self.compose.versions().await.unwrap_or_default();
        let versions = [("docker", engine, ENGINE_MIN), ("compose", compose, COMPOSE_MIN)];
        for (what, version, least) in versions {
            let is_old = is_older(version.trim_start_matches('v'), least);
            let mark = if is_old { Mark::Wrong } else { Mark::Fine };
            let mend = is_old.then(|| format!("install {least} or newer"));
            findings.push(Finding { mark, mend, ..Finding::fine(what, version) });
        }
        findings.extend(self.compose.names().map(|(name, size)| self.container(name, size)));
        findings
    }

    /// One of the compose file's names, of which there may be several containers.
    fn container(&self, name: &str, size: usize) -> Finding {
        let all: Vec<_> = self.containers.iter().filter(|one| one.name == name).collect();
        let logs = format!("`make docker-logs` tells why, or `docker logs {name}`");
        if all.len() < size {
            let missing = if size == 1 { "has no container" } else { "has too few containers" };
            return Finding::wrong(name, missing, DOCKER_STARTS);
        }
        if let Some(why) = all.iter().find_map(|one| one.held_up()) {
            return Finding::wrong(name, format!("is {why}"), LOCKS);
        }
        match all.iter().find(|one| !one.is_healthy()) {
            None if size == 1 => Finding::fine(name, "healthy"),
            None => Finding::fine(name, format!("{size} of {size} healthy")),
            Some(one) => {
                let trouble = one.trouble().unwrap_or("is not healthy yet".into());
                let number =
                    if size == 1 { String::new() } else { format!("copy {} ", one.number) };
                let mend = if one.has_ended() { DOCKER_STARTS.to_owned() } else { logs };
                Finding::wrong(name, number + &trouble, mend)
            }
        }
    }

    /// The names of RabbitMQ's nodes that do not run.
    pub fn stopped_nodes(&self) -> Vec<String> {
        let brokers = self.compose.names().filter(|(name, _)| name.starts_with("rabbitmq"));
        let runs =
            |name: &str| self.containers.iter().any(|one| one.name == name && one.is_running());
        brokers.filter(|(name, _)| !runs(name)).map(|(name, _)| name.to_owned()).collect()
    }
}
