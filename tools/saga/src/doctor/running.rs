//! Checks what `saga up` has started, and what an earlier run has left.

use std::fs;

use futures::future::join_all;
use kit::home::{Home, Servers};
use kit::service::Service;
use kit::settings::Settings;
use labels::span;
use servers::{Postgres, Process, RabbitMq, install, tail};

use super::Finding;

/// The error of a service that finds a schema with other migrations than its own.
const OTHER_SCHEMA: &str = "cannot apply the migrations";
/// Of a database that refuses work.
pub const LOCKS: &str = "end what holds the lock: SELECT pid, query FROM pg_stat_activity WHERE \
     state = 'idle in transaction'";
const LAST_LINES: usize = 40;
const ANEW: &str = "`make down` deletes the data, and `make up` makes it anew";

pub async fn left_behind(
    settings: &Settings,
    home: &Home<'_>,
    services: &[Service],
) -> Vec<Finding> {
    let dir = settings.home.display();
    if !home.is_there() {
        let others = fs::read_dir(&settings.home).is_ok_and(|mut all| all.next().is_some());
        let told = format!("{dir} contains other files");
        let mend = "set SAGA_HOME to a new or empty directory";
        return others.then(|| Finding::wrong("data", told, mend)).into_iter().collect();
    }
    let mut findings = Vec::new();
    let installed = install::packages().into_iter().find_map(|(name, version)| {
        version.filter(|_| name == "postgresql")?.split('.').next().map(str::to_owned)
    });
    for database in &settings.databases {
        let version = home.postgres_dir(database).join("data/PG_VERSION");
        let version = fs::read_to_string(version).unwrap_or_default().trim().to_owned();
        let has_its_own = version.is_empty() || install::postgres_of(&version).is_some();
        if let Some(installed) = installed.as_ref().filter(|_| !has_its_own) {
            let service = database.service;
            let told =
                format!("{service}'s is of Postgres {version}, and {installed} is installed");
            let mend = format!("install Postgres {version} too, or else: {ANEW}");
            findings.push(Finding::wrong("data", told, mend));
        }
    }
    for service in services {
        let last = tail(&service.log_file(), LAST_LINES);
        if last.contains(OTHER_SCHEMA) && !service.is_ready().await {
            let told = format!("{}'s database has the schema of another version", service.name);
            findings.push(Finding::wrong("data", told, ANEW));
        }
    }
    if findings.is_empty() {
        findings.push(Finding::fine("data", format!("in {dir}")));
    }
    findings
}

/// The frozen ones: they take connections, and never answer.
pub fn frozen_servers(servers: &Servers) -> Vec<Finding> {
    let Servers { rabbitmq, postgres, .. } = servers;
    let rabbitmq = rabbitmq.iter().map(|it| (&it.name, it.running.as_ref().map(RabbitMq::process)));
    let postgres = postgres.iter().map(|it| (&it.name, it.running.as_ref().map(Postgres::process)));
    let all = rabbitmq.chain(postgres).filter_map(|(name, process)| Some((name, process?)));
    all.filter(|(_, process)| process.is_frozen())
        .map(|(it, process)| frozen(it, process))
        .collect()
}

fn frozen(name: &str, process: Process) -> Finding {
    let mend = format!("`kill -CONT {}` lets it go on", process.pid);
    Finding::wrong(name, "is frozen by a signal: it takes connections and answers none", mend)
}

pub async fn services(services: &[Service]) -> Vec<Finding> {
    join_all(services.iter().map(async |service| {
        let Service { name, .. } = *service;
        let logs = format!("`saga logs --no-follow {name}` tells why");
        match service.running() {
            None if service.has_died() => {
                let mend = format!("{logs}, and `make up` starts it again");
                Finding::wrong(name, "has ended by itself", mend)
            }
            None => Finding::wrong(name, "does not run", "`make up` starts it"),
            Some(process) if process.is_frozen() => frozen(name, process),
            Some(_) if !service.is_ready().await => {
                let why = service.trouble().await.map(|why| format!(": {why}"));
                Finding::wrong(name, format!("is not ready{}", why.unwrap_or_default()), logs)
            }
            Some(_) if service.is_outdated() => {
                Finding::odd(name, "has been built anew since it started", "`make up` restarts it")
            }
            Some(process) => {
                if let Some(why) = service.held_up().await {
                    return Finding::wrong(name, format!("is {why}"), LOCKS);
                }
                let age = process.age().and_then(|age| i64::try_from(age.as_millis()).ok());
                let age = age.map(span).unwrap_or_default();
                Finding::fine(name, format!("ready, pid {}, up {age}", process.pid))
            }
        }
    }))
    .await
}
