//! Finds problems of this machine and of what runs here, and says how to fix them.

mod cluster;
mod containers;
mod machine;
mod running;
mod servers;

use kit::endpoints::present;
use kit::home::{Home, Servers};
use kit::service::Service;
use kit::settings::Settings;
use serde::Serialize;

const STARTS: &str = "`saga up` starts what does not run";
const DOCKER_STARTS: &str = "`make docker-up` starts what does not run";

#[derive(Debug, Serialize)]
pub struct Finding {
    pub what: String,
    pub mark: Mark,
    pub told: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mark {
    Fine,
    /// It works, and may not be what the operator wants.
    Odd,
    Wrong,
}

impl Finding {
    fn fine(what: impl Into<String>, told: impl Into<String>) -> Self {
        Self { what: what.into(), mark: Mark::Fine, told: told.into(), mend: None }
    }

    fn odd(what: impl Into<String>, told: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { mark: Mark::Odd, mend: Some(mend.into()), ..Self::fine(what, told) }
    }

    fn wrong(what: impl Into<String>, told: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { mark: Mark::Wrong, mend: Some(mend.into()), ..Self::fine(what, told) }
    }
}

/// Checks the machine, and then what runs on it, by itself or in containers.
pub async fn examine(settings: &Settings) -> anyhow::Result<Vec<Finding>> {
    let home = Home::new(settings);
    let services = Service::wanted(settings)?;
    let processes = home.servers()?;
    let runs = processes.any() || services.iter().any(|service| service.running().is_some());
    let mut findings = machine::examine(settings, &services).await;
    let compose = if runs { None } else { containers::find().await };
    if compose.is_none() {
        findings.extend(machine::ports(settings, &processes, &services));
        findings.extend(running::left_behind(settings, &home, &services).await);
    }
    match &compose {
        Some(found) => findings.extend(found.examine().await),
        None if runs => findings.extend(running::services(&services).await),
        None => {
            let nothing = "nothing runs; `make up` starts it";
            findings.push(Finding::fine("services", nothing));
            return Ok(findings);
        }
    }
    findings.extend(running::frozen_servers(&processes));
    let endpoints = present(settings).await;
    findings.extend(servers::broker(settings, &endpoints).await);
    if settings.is_cluster {
        let (stopped, starts) = match &compose {
            Some(found) => (found.stopped_nodes(), DOCKER_STARTS),
            None => (stopped_nodes(&processes), STARTS),
        };
        findings.extend(cluster::broker(settings, &stopped, starts, &endpoints).await?);
        findings.extend(cluster::databases(settings, starts).await);
        if compose.is_none() {
            findings.extend(cluster::proxy(&home)?);
        }
    }
    findings.extend(servers::databases(&endpoints).await);
    Ok(findings)
}

fn stopped_nodes(processes: &Servers) -> Vec<String> {
    let stopped = processes.rabbitmq.iter().filter(|node| node.running.is_none());
    stopped.map(|node| node.name.clone()).collect()
}
