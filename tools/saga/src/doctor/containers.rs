//! Checks the containers, if there are any.

use kit::settings::Settings;

use super::{Finding, Mark, machine::is_older};
use crate::compose::{Compose, Container};

const ENGINE_MIN: &str = "25";
const COMPOSE_MIN: &str = "2.26";

pub struct Found {
    compose: Compose,
    containers: Vec<Container>,
}

/// Checks nothing where Docker is not used.
pub async fn find(settings: &Settings) -> Option<Found> {
    let compose = Compose::find(settings).await.ok()?;
    let containers = compose.containers().await.ok().filter(|all| !all.is_empty())?;
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
        let names = self.compose.names();
        findings.extend(names.map(|name| {
            let container = self.containers.iter().find(|one| one.name == name);
            let logs = format!("`docker compose logs {name}` tells why");
            match container {
                None => Finding::wrong(name, "has no container", "`make docker-up` makes it"),
                Some(one) if one.is_healthy() => Finding::fine(name, "healthy"),
                Some(one) => {
                    Finding::wrong(name, one.trouble().unwrap_or("is not healthy yet".into()), logs)
                }
            }
        }));
        findings
    }
}
