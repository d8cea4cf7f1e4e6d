//! Checks the logins to broker and databases, and looks for work that is stuck in them.

use std::time::Duration;

use anyhow::Result;
use audit::{Broker, Databases, Endpoints, Management, Silent, answer};
use chrono::{DateTime, Utc};
use dead_letters::connect;
use events::{ADD_ONS, EventId, add_ons, said_at, unheard};
use futures::future::join_all;
use kit::output::{self, some};
use kit::settings::{SERVICES, Settings};
use labels::span;
use messaging::{Env, SystemEnv};
use serde::Deserialize;
use serde_json::Value;

use super::Finding;
use crate::topology;

/// An event that is unpublished for longer is stuck.
const HELD_UP_MS: i64 = 30_000;
/// The tolerated difference between clocks of one machine and its containers.
const APART_MS: i64 = 2_000;
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
const RESTART: &str = "wait, or `kill -CONT` what `saga status` shows as frozen; else `make stop`, \
     then `make up` restarts it";

pub async fn broker(settings: &Settings, endpoints: &Endpoints) -> Vec<Finding> {
    let mut findings = Vec::new();
    match alarms(endpoints).await {
        Ok(finding) => findings.push(finding),
        Err(why) => {
            findings.push(unreachable("rabbitmq", &why));
            return findings;
        }
    }
    findings.extend(feature_flags(endpoints).await);
    findings.push(users(settings, endpoints).await);
    findings.push(match topology::check(endpoints, settings).await {
        Ok(report) if report.as_asked => Finding::fine("topology", "as SAGA asks"),
        Ok(report) => {
            let all = some(report.differences.len(), "difference");
            let told = format!("{all} from what SAGA asks");
            Finding::wrong("topology", told, "`saga topology --check` lists them")
        }
        Err(why) => unreachable("topology", &why),
    });
    findings.push(match dead_letters(endpoints).await {
        Ok(finding) => finding,
        Err(why) => unreachable("dead letters", &why),
    });
    findings.extend(full_queues(endpoints).await);
    findings.extend(retries(endpoints).await);
    findings
}

async fn alarms(endpoints: &Endpoints) -> Result<Finding> {
    let management = Management::at(endpoints)?;
    let overview: Value = management.get("overview", Some("rabbitmq_version")).await?;
    let nodes: Value = management.get("nodes", None).await?;
    let nodes = nodes.as_array().cloned().unwrap_or_default();
    let has = |alarm: &str| nodes.iter().any(|node| node[alarm] == true);
    let version = overview["rabbitmq_version"].as_str().unwrap_or_default();
    Ok(match (has("mem_alarm"), has("disk_free_alarm")) {
        (true, _) => Finding::wrong(
            "rabbitmq",
            "accepts no messages: memory alarm",
            "end other programs, or drain its queues",
        ),
        (_, true) => Finding::wrong(
            "rabbitmq",
            "accepts no messages: disk alarm",
            "free some: it goes on by itself",
        ),
        _ => Finding::fine("rabbitmq", format!("{version} answers, without an alarm")),
    })
}

#[derive(Deserialize)]
struct FeatureFlag {
    name: String,
    state: String,
    stability: String,
}

/// Those that are off, if any. RabbitMQ before 3.8 has none.
async fn feature_flags(endpoints: &Endpoints) -> Option<Finding> {
    let all: Vec<FeatureFlag> =
        Management::at(endpoints).ok()?.get("feature-flags", None).await.ok()?;
    flags_off(&all)
}

fn flags_off(all: &[FeatureFlag]) -> Option<Finding> {
    let off = all.iter().filter(|flag| flag.state == "disabled" && flag.stability == "stable");
    let off: Vec<_> = off.map(|flag| flag.name.as_str()).collect();
    let told = format!("off: {}", off.join(", "));
    let mend = "`rabbitmqctl enable_feature_flag all`, or the next version may not start";
    (!off.is_empty()).then(|| Finding::odd("feature flags", told, mend))
}

/// Logs in as each service's own user.
async fn users(settings: &Settings, endpoints: &Endpoints) -> Finding {
    let node = settings.amqp_urls().iter().position(|url| *url == endpoints.amqp_url);
    let mut refused = Vec::new();
    let services: Vec<_> = settings.databases.iter().map(|database| database.service).collect();
    for service in &services {
        let url = settings.service_amqp_urls(service).swap_remove(node.unwrap_or(0));
        if let Err(why) = connect(&url).await {
            refused.push(format!("{service} ({})", output::reason(&why)));
        }
    }
    match refused.is_empty() {
        true => Finding::fine("users", format!("{} may come", services.join(", "))),
        false => {
            let told = format!("RabbitMQ rejects the login of {}", refused.join(", "));
            Finding::wrong("users", told, "`saga topology --check` tells what differs")
        }
    }
}

async fn dead_letters(endpoints: &Endpoints) -> Result<Finding> {
    let broker = Broker::connect(endpoints).await?;
    let held = broker.held().await?.into_iter();
    let mut found: Vec<_> =
        held.map(|(queue, letters)| format!("{letters} of {queue} held by a command")).collect();
    for queue in broker.parkings().await? {
        let letters = broker.count(&queue).await?;
        if letters > 0 {
            found.push(format!("{letters} in {queue}"));
        }
    }
    Ok(match found.is_empty() {
        true => Finding::fine("dead letters", "none"),
        false => {
            let mend = "`saga dlq list` shows why; `saga dlq replay` replays them";
            Finding::odd("dead letters", found.join(", "), mend)
        }
    })
}

/// Those that refuse failed messages, if any.
async fn full_queues(endpoints: &Endpoints) -> Option<Finding> {
    let full = async { Broker::connect(endpoints).await?.full().await };
    let full = match full.await {
        Ok(full) => full,
        Err(why) => return Some(unreachable("full queues", &why)),
    };
    let told = full.join(", ");
    let mend = "failed messages wait for room: `saga dlq replay` or `purge`, or raise the limit";
    (!told.is_empty()).then(|| Finding::wrong("full queues", told, mend))
}

/// The messages that wait for their next try, if any.
async fn retries(endpoints: &Endpoints) -> Option<Finding> {
    let waiting = async {
        let broker = Broker::connect(endpoints).await?;
        let mut waiting = Vec::new();
        for tier in broker.tiers().await? {
            let ready = broker.state(&tier).await?.map_or(0, |state| state.ready);
            waiting.extend((ready > 0).then(|| format!("{ready} in {tier}")));
        }
        anyhow::Ok(waiting)
    };
    let told = match waiting.await {
        Ok(waiting) => waiting.join(", "),
        Err(why) => return Some(unreachable("retries", &why)),
    };
    let mend = "each says why: `saga why <order>`, and its service's log";
    (!told.is_empty()).then(|| Finding::odd("retries", told, mend))
}

pub async fn databases(endpoints: &Endpoints) -> Vec<Finding> {
    join_all(SERVICES.into_iter().chain(add_ons()).map(async |service| {
        let what = format!("{service}'s data");
        let part = format!("the database of {service}");
        match answer(part, ANSWER_WITHIN, look(endpoints, service)).await {
            Ok(seen) => judge(&what, &seen, SystemEnv.now()),
            Err(why) => unreachable(&what, &why),
        }
    }))
    .await
}

struct Seen {
    now: DateTime<Utc>,
    unsent: i64,
    oldest: Option<EventId>,
    last_error: Option<String>,
}

async fn look(endpoints: &Endpoints, service: &str) -> Result<Seen> {
    let place = [(service.to_owned(), endpoints.databases[service].clone())].into();
    let mut databases = Databases::connect(&place).await?;
    let (now, unsent, oldest, last_error) = sqlx::query_as(
        "WITH unsent AS (SELECT event_id, last_error FROM outbox WHERE event_type <> ALL($1))
         SELECT clock_timestamp(), (SELECT COUNT(*) FROM unsent),
             (SELECT event_id FROM unsent ORDER BY event_id LIMIT 1),
             (SELECT last_error FROM unsent ORDER BY event_id LIMIT 1)",
    )
    .bind(unheard(ADD_ONS))
    .fetch_one(databases.of(service)?)
    .await?;
    Ok(Seen { now, unsent, oldest, last_error })
}

fn judge(what: &str, seen: &Seen, now: DateTime<Utc>) -> Finding {
    let apart = (seen.now - now).num_milliseconds().abs();
    if apart > APART_MS {
        let told = format!("its clock is {} from this machine's", span(apart));
        return Finding::wrong(what, told, "correct both: ids include the time");
    }
    let age = seen.oldest.and_then(said_at).map(|at| (now - at).num_milliseconds());
    if let Some(age) = age.filter(|age| *age > HELD_UP_MS) {
        let events = some(usize::try_from(seen.unsent).unwrap_or(0), "event");
        let error = seen.last_error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
        let told = format!("{events} not published, the oldest for {}{error}", span(age));
        let mend = "see whether its service is ready, and `saga topology --check`";
        return Finding::wrong(what, told, mend);
    }
    Finding::fine(
        what,
        format!("{} in its outbox", some(usize::try_from(seen.unsent).unwrap_or(0), "event")),
    )
}

fn unreachable(what: &str, why: &anyhow::Error) -> Finding {
    let mend = if Silent::is_in(why) { RESTART } else { "`make up` starts what does not run" };
    Finding::wrong(what, output::reason(why), mend)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Mark;
    use uuid::Uuid;

    #[test]
    fn stable_feature_flags_that_are_off_are_named() {
        let flag = |name: &str, state: &str, stability: &str| FeatureFlag {
            name: name.into(),
            state: state.into(),
            stability: stability.into(),
        };
        let on = flag("a", "enabled", "stable");
        let new = flag("b", "disabled", "experimental");
        assert!(flags_off(&[on, new]).is_none());
        let off = flags_off(&[flag("c", "disabled", "stable")]).unwrap();
        assert_eq!((off.mark, &*off.told), (Mark::Odd, "off: c"));
    }

    #[test]
    fn an_outbox_that_is_held_up_and_a_clock_that_is_off_are_wrong() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let said = |seconds: u64| {
            let at = 1_800_000_000_000 - seconds * 1000;
            Some(uuid::Builder::from_unix_timestamp_millis(at, &[1; 10]).into_uuid())
        };
        let seen = |oldest: Option<Uuid>, apart: i64| Seen {
            now: now + chrono::TimeDelta::seconds(apart),
            unsent: oldest.is_some().into(),
            oldest,
            last_error: Some("nobody listens".into()),
        };
        assert_eq!(judge("x", &seen(None, 0), now).mark, Mark::Fine);
        assert_eq!(judge("x", &seen(said(2), 1), now).mark, Mark::Fine);
        assert_eq!(judge("x", &seen(None, -5), now).mark, Mark::Wrong);
        let held = judge("x", &seen(said(90), 0), now);
        assert_eq!(held.told, "1 event not published, the oldest for 90.0 s: nobody listens");
    }
}
