//! Checks what a cluster has more of: nodes, members of queues, standbys, the proxy.

use std::collections::BTreeMap;

use anyhow::Result;
use audit::{Endpoints, Management};
use kit::home::Home;
use kit::output::{self, some};
use kit::primary::{Candidate, Part, candidates, follower};
use kit::settings::{Database, SERVICES, Settings};
use serde::Deserialize;
use serde_json::Value;
use servers::{Follower, HaProxy};

use super::Finding;

/// More than a few transactions: a standby that does not keep up, and slows down every commit.
const LAG_MAX_BYTES: u64 = 16 << 20;

#[derive(Deserialize)]
struct Node {
    name: String,
    running: bool,
    /// The nodes that it has lost, while they ran.
    #[serde(default)]
    partitions: Vec<String>,
}

#[derive(Deserialize)]
struct Queue {
    name: String,
    /// Missing for a classic queue.
    members: Option<Vec<String>>,
    online: Option<Vec<String>>,
    leader: Option<String>,
}

pub async fn broker(
    settings: &Settings,
    stopped: &[String],
    starts: &str,
    endpoints: &Endpoints,
) -> Result<Vec<Finding>> {
    let size = settings.nodes().len();
    let management = Management::at(endpoints)?;
    let nodes = management.get("nodes", Some("name,running,partitions")).await;
    // Of a queue that has lost a member, RabbitMQ 3.10 names a field twice for a while; the last
    // one is right.
    let queues = management.get::<Value>("queues", Some("name,members,online,leader")).await;
    let queues = queues.and_then(|queues| Ok(serde_json::from_value::<Vec<Queue>>(queues)?));
    Ok(vec![
        self::nodes(size, stopped, starts, nodes),
        match queues {
            Ok(queues) => self::queues(size, starts, &queues),
            Err(why) => Finding::wrong("queues", output::reason(&why), starts),
        },
    ])
}

/// Those that do not run are known even where no node answers.
fn nodes(size: usize, stopped: &[String], starts: &str, all: Result<Vec<Node>>) -> Finding {
    if !stopped.is_empty() {
        let told = format!("{} of {size} do not run: {}", stopped.len(), stopped.join(", "));
        return Finding::wrong("nodes", told, starts);
    }
    let all = match all {
        Ok(all) => all,
        Err(why) => return Finding::wrong("nodes", output::reason(&why), starts),
    };
    let parted: Vec<_> = all.iter().filter(|node| !node.partitions.is_empty()).collect();
    let down: Vec<_> = all.iter().filter(|node| !node.running).map(|node| &*node.name).collect();
    if let Some(node) = parted.first() {
        let told = format!("{} has lost {}", node.name, node.partitions.join(", "));
        let mend = "mend the network, then restart the node";
        return Finding::wrong("nodes", format!("a partition: {told}"), mend);
    }
    if !down.is_empty() || all.len() < size {
        let told = match down.is_empty() {
            true => format!("{} of {size} are members", all.len()),
            false => format!("{} of {size} are down: {}", down.len(), down.join(", ")),
        };
        return Finding::wrong("nodes", told, starts);
    }
    Finding::fine("nodes", format!("{size} of {size} run"))
}

fn queues(size: usize, starts: &str, all: &[Queue]) -> Finding {
    let number = |list: &Option<Vec<String>>| list.as_ref().map_or(0, Vec::len);
    let quorum: Vec<_> = all.iter().filter(|queue| queue.members.is_some()).collect();
    let named = |is_meant: &dyn Fn(&Queue) -> bool| {
        let found: Vec<_> = quorum.iter().filter(|queue| is_meant(queue)).collect();
        let first = found.first().map(|queue| queue.name.clone())?;
        Some(format!("{}, {first} for one", some(found.len(), "queue")))
    };
    if let Some(told) = named(&|one| 2 * number(&one.online) <= number(&one.members)) {
        let told = format!("no majority of members: {told}");
        return Finding::wrong("queues", told, format!("their events wait: {starts}"));
    }
    if let Some(told) = named(&|one| number(&one.members) < size) {
        let mend = "`rabbitmq-queues grow <node> all` for the node that lacks them";
        return Finding::wrong("queues", format!("fewer than {size} members: {told}"), mend);
    }
    if let Some(told) = named(&|one| number(&one.online) < size) {
        let told = format!("a member is down, and the majority goes on: {told}");
        return Finding::odd("queues", told, starts);
    }
    let mut leaders: BTreeMap<&str, usize> = BTreeMap::new();
    for leader in quorum.iter().filter_map(|queue| queue.leader.as_deref()) {
        *leaders.entry(leader).or_default() += 1;
    }
    let leaders: Vec<_> = leaders.iter().map(|(node, led)| format!("{led} on {node}")).collect();
    let leaders = leaders.join(", ");
    Finding::fine("queues", format!("{size} members each; leaders: {leaders}"))
}

pub async fn databases(settings: &Settings, starts: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for database in settings.databases.iter().take(SERVICES.len()) {
        let all = candidates(settings, database).await;
        let primary = all.iter().find(|one| matches!(one.part, Ok(Part::Primary)));
        let (waits, follower) = match primary {
            Some(one) => follower(database, one.listener.0).await.unwrap_or_default(),
            None => (false, None),
        };
        findings.push(pair(database, &all, follower.as_ref(), waits, starts));
    }
    findings
}

fn pair(
    database: &Database,
    all: &[Candidate],
    follower: Option<&Follower>,
    waits: bool,
    starts: &str,
) -> Finding {
    let service = database.service;
    let what = format!("{service}'s pair");
    let of = |part: Part| {
        let those = all.iter().filter(move |one| one.part.as_ref().is_ok_and(|it| *it == part));
        those.map(|one| one.listener.0.to_string()).collect::<Vec<_>>()
    };
    let (primaries, standbys) = (of(Part::Primary), of(Part::Standby));
    let back = format!("`saga standby {service}` brings it back");
    match (&primaries[..], follower) {
        ([], _) if standbys.is_empty() => Finding::wrong(what, "neither server answers", starts),
        ([], _) => {
            let told = format!("there is no primary: only the standby on {} answers", standbys[0]);
            let mend = format!("`saga failover {service}` promotes it; or {starts}");
            Finding::wrong(what, told, mend)
        }
        ([_, _, ..], _) => {
            let told = format!("two primaries answer, on {}", primaries.join(" and "));
            let mend = format!("stop the old one, then `saga verify`: {service} took both");
            Finding::wrong(what, told, mend)
        }
        ([primary], None) if waits => {
            let told = format!("commits on {primary} wait for a standby that is gone");
            let mend = format!("{back}, or `saga standby {service} --release` goes on without it");
            Finding::wrong(what, told, mend)
        }
        ([primary], None) => Finding::odd(what, format!("{primary} has no standby"), back),
        ([primary], Some(one)) if !one.is_synchronous => {
            let told = format!("commits on {primary} do not wait for the standby ({})", one.state);
            Finding::odd(what, told, format!("`saga standby {service}` makes them wait"))
        }
        ([primary], Some(one)) => {
            let lag = one.lag_bytes;
            let told = format!("primary on {primary}, its standby {lag} bytes behind");
            match lag {
                ..LAG_MAX_BYTES => Finding::fine(what, told),
                _ => Finding::odd(what, told, "look at the standby's disk and processor"),
            }
        }
    }
}

pub fn proxy(home: &Home<'_>) -> Result<Option<Finding>> {
    let Some(config) = home.proxy() else { return Ok(None) };
    let runs = HaProxy::attach(&config)?.is_some_and(|proxy| proxy.is_ready());
    Ok(Some(match runs {
        true => Finding::fine("haproxy", format!("listens on {}", config.port)),
        false => Finding::wrong("haproxy", "does not run", "`saga up` starts it"),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Mark;
    use anyhow::anyhow;

    fn queue(online: usize, members: usize) -> Queue {
        let nodes = |number: usize| Some((1..=number).map(|at| format!("n{at}")).collect());
        let leader = Some("n1".to_owned());
        Queue { name: "q".into(), members: nodes(members), online: nodes(online), leader }
    }

    #[test]
    fn queues_without_majority_or_members_are_wrong() {
        let mark = |online, members| queues(3, "", &[queue(3, 3), queue(online, members)]).mark;
        assert_eq!(mark(1, 3), Mark::Wrong);
        assert_eq!(mark(1, 1), Mark::Wrong);
        assert_eq!(mark(2, 3), Mark::Odd);
        assert_eq!(queues(3, "", &[queue(3, 3)]).told, "3 members each; leaders: 1 on n1");
    }

    #[test]
    fn nodes_that_are_down_or_parted_are_wrong() {
        let node = |running, partitions: &[&str]| Node {
            name: "n".into(),
            running,
            partitions: partitions.iter().map(|name| (*name).to_owned()).collect(),
        };
        let all = |last| nodes(3, &[], "", Ok(vec![node(true, &[]), node(true, &[]), last]));
        assert_eq!(all(node(true, &[])).mark, Mark::Fine);
        assert_eq!(all(node(false, &[])).mark, Mark::Wrong);
        let stopped = nodes(3, &["rabbitmq 2".into()], "", Err(anyhow!("no answer")));
        assert_eq!(stopped.told, "1 of 3 do not run: rabbitmq 2");
        assert!(all(node(true, &["m"])).told.starts_with("a partition"));
    }

    #[test]
    fn a_pair_needs_one_primary_and_its_standby() {
        let settings = Settings::from(|_| None).unwrap();
        let database = &settings.databases[0];
        let told = |parts: [Option<Part>; 2], follower: Option<&Follower>, waits| {
            let all = parts.map(|part| Candidate {
                url: String::new(),
                listener: (5433, ""),
                part: part.ok_or_else(|| anyhow!("gone")),
            });
            let found = pair(database, &all, follower, waits, "");
            (found.mark, found.told)
        };
        let (primary, standby) = (Some(Part::Primary), Some(Part::Standby));
        let well = Follower { state: "streaming".into(), is_synchronous: true, lag_bytes: 0 };
        assert_eq!(told([primary, standby], Some(&well), true).0, Mark::Fine);
        assert!(told([None, standby], None, true).1.starts_with("there is no primary"));
        assert!(told([primary, None], None, true).1.contains("wait for a standby that is gone"));
        assert_eq!(told([primary, None], None, false).0, Mark::Odd);
        assert!(told([primary, primary], None, true).1.starts_with("two primaries"));
        assert_eq!(told([None, None], None, true).0, Mark::Wrong);
    }
}
