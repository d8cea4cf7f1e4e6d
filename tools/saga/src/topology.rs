//! Compares a broker with the saga's topology: what is missing, what differs, and what is extra.

use std::collections::BTreeMap;

use anyhow::Result;
use audit::{Endpoints, Management};
use kit::definitions::{logins, topology};
use kit::settings::Settings;
use serde::Serialize;
use serde_json::{Map, Value};

/// One list of RabbitMQ's definitions.
struct Kind {
    list: &'static str,
    one: &'static str,
    /// The fields that identify an object.
    key: &'static [&'static str],
    /// The fields that must be equal.
    same: &'static [&'static str],
}

const KINDS: [Kind; 7] = [
    Kind {
        list: "exchanges",
        one: "exchange",
        key: &["name"],
        same: &["type", "durable", "auto_delete", "internal", "arguments"],
    },
    Kind {
        list: "queues",
        one: "queue",
        key: &["name"],
        same: &["durable", "auto_delete", "arguments"],
    },
    Kind {
        list: "bindings",
        one: "binding",
        key: &["source", "destination", "destination_type", "routing_key", "arguments"],
        same: &[],
    },
    Kind {
        list: "policies",
        one: "policy",
        key: &["name"],
        same: &["pattern", "apply-to", "priority", "definition"],
    },
    Kind { list: "users", one: "user", key: &["name"], same: &["tags"] },
    Kind {
        list: "permissions",
        one: "permission",
        key: &["user"],
        same: &["configure", "write", "read"],
    },
    Kind {
        list: "topic_permissions",
        one: "topic permission",
        key: &["user", "exchange"],
        same: &["write", "read"],
    },
];

#[derive(Debug, Serialize)]
pub struct Report {
    /// Nothing is missing, nothing differs, and nothing hides unroutable events.
    pub as_asked: bool,
    /// The number of objects of each kind that were compared.
    pub checked: BTreeMap<&'static str, usize>,
    pub differences: Vec<Difference>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    pub what: What,
    pub kind: &'static str,
    pub name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    Missing,
    Differs,
    /// It makes an event without a subscriber look routed; the event is lost.
    Hides,
    /// Extra and harmless: not part of the saga's topology.
    More,
}

impl What {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Differs => "differs",
            Self::Hides => "hides",
            Self::More => "more",
        }
    }
}

/// Compares the running broker with the saga's topology.
pub async fn check(endpoints: &Endpoints, settings: &Settings) -> Result<Report> {
    let live = Management::at(endpoints)?.get("definitions", None).await?;
    Ok(compare(&asked(settings, &endpoints.vhost), &live, endpoints))
}

fn asked(settings: &Settings, vhost: &str) -> Map<String, Value> {
    let all = [topology(settings, vhost), logins(settings, vhost)];
    all.into_iter().filter_map(|part| part.as_object().cloned()).flatten().collect()
}

fn compare(asked: &Map<String, Value>, live: &Value, endpoints: &Endpoints) -> Report {
    let mut report = Report { as_asked: true, checked: BTreeMap::new(), differences: Vec::new() };
    for kind in &KINDS {
        let wanted = entries(kind, &asked[kind.list], &endpoints.vhost);
        let mut there = entries(kind, &live[kind.list], &endpoints.vhost);
        report.checked.insert(kind.list, wanted.len());
        for (key, one) in &wanted {
            let found = there.remove(key);
            report.differences.extend(difference(kind, one, found));
        }
        let more = there.into_values().filter(|one| !is_operators(kind, one, endpoints));
        report.differences.extend(more.map(|one| beyond(kind, one)));
    }
    report.as_asked = report.differences.iter().all(|one| one.what == What::More);
    report
}

/// The objects of this virtual host, by their identity.
fn entries<'a>(kind: &Kind, list: &'a Value, vhost: &str) -> BTreeMap<String, &'a Value> {
    let here = |one: &&Value| one["vhost"].as_str().is_none_or(|other| other == vhost);
    let all = list.as_array().into_iter().flatten().filter(here);
    all.map(|one| (kind.key.iter().map(|field| format!("{}\n", one[field])).collect(), one))
        .collect()
}

fn difference(kind: &Kind, wanted: &Value, found: Option<&Value>) -> Option<Difference> {
    let told = |what, detail| Difference { what, kind: kind.one, name: name(kind, wanted), detail };
    let Some(found) = found else { return Some(told(What::Missing, String::new())) };
    let differing =
        kind.same.iter().filter(|field| plain(&wanted[**field]) != plain(&found[**field]));
    let differing = differing.map(|field| {
        let (is, asked) = (plain(&found[field]), plain(&wanted[field]));
        format!("{field} is {is}, and should be {asked}")
    });
    let detail = differing.collect::<Vec<_>>().join("; ");
    (!detail.is_empty()).then(|| told(What::Differs, detail))
}

fn beyond(kind: &Kind, one: &Value) -> Difference {
    let events = |exchange: &str| exchange.ends_with(".exchange");
    let is_pattern = |key: &str| key.contains(['*', '#']);
    let text = |field: &str| one[field].as_str().unwrap_or_default();
    let (what, detail) = match kind.list {
        "bindings" if events(text("source")) && is_pattern(text("routing_key")) => {
            (What::Hides, "it makes unroutable events routable")
        }
        "policies" if one["definition"].get("alternate-exchange").is_some() => {
            (What::Hides, "where it applies, no event is returned as unroutable")
        }
        _ => (What::More, ""),
    };
    Difference { what, kind: kind.one, name: name(kind, one), detail: detail.into() }
}

/// The operator's own user, which may do everything.
fn is_operators(kind: &Kind, one: &Value, endpoints: &Endpoints) -> bool {
    let field = match kind.list {
        "users" => "name",
        "permissions" | "topic_permissions" => "user",
        _ => return false,
    };
    one[field] == endpoints.management_user.as_str()
}

/// Tags are a text or a list, depending on the broker's version.
fn plain(value: &Value) -> String {
    match value {
        Value::Array(all) => all.iter().map(plain).collect::<Vec<_>>().join(","),
        Value::String(text) => text.clone(),
        // RabbitMQ 4.3 leaves out values that are false.
        Value::Null => "false".to_owned(),
        other => other.to_string(),
    }
}

fn name(kind: &Kind, one: &Value) -> String {
    let text = |field: &str| plain(&one[field]);
    match kind.list {
        "bindings" => {
            let by = match text("routing_key") {
                key if key.is_empty() => String::new(),
                key => format!(" by {key}"),
            };
            format!("{} → {}{by}", text("source"), text("destination"))
        }
        "permissions" => format!("of {}", text("user")),
        "topic_permissions" => format!("of {} for {}", text("user"), text("exchange")),
        _ => text("name"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kit::settings::VHOST;
    use serde_json::json;

    fn told(change: impl FnOnce(&mut Value)) -> Vec<(What, String)> {
        let settings = Settings::from(|_| None).unwrap();
        let asked = asked(&settings, VHOST);
        let mut live = Value::Object(asked.clone());
        change(&mut live);
        let settings = Settings::from(|_| None).unwrap();
        let report = compare(&asked, &live, &Endpoints::from(&settings));
        let is_fine = report.differences.iter().all(|one| one.what == What::More);
        assert_eq!(report.as_asked, is_fine);
        report
            .differences
            .into_iter()
            .map(|one| (one.what, one.kind.to_owned() + " " + &one.name))
            .collect()
    }

    fn push(live: &mut Value, list: &str, one: Value) {
        live[list].as_array_mut().unwrap().push(one);
    }

    #[test]
    fn a_broker_as_asked_differs_in_nothing() {
        assert_eq!(told(|_| {}), []);
        let admin = json!({ "name": "admin", "tags": ["administrator"] });
        assert_eq!(told(|live| push(live, "users", admin)), []);
        let of_another = json!({ "name": "x", "vhost": "/other" });
        assert_eq!(told(|live| push(live, "queues", of_another)), []);
        assert_eq!(told(|live| live["users"][0]["tags"] = json!([])), []);
    }

    #[test]
    fn what_is_missing_and_what_differs_is_named() {
        let gone = told(|live| {
            live["bindings"].as_array_mut().unwrap().retain(|one| one["source"] != "unrouted");
        });
        assert_eq!(gone, [(What::Missing, "binding unrouted → unrouted".into())]);
        let other = told(|live| live["permissions"][1]["write"] = ".*".into());
        assert_eq!(other, [(What::Differs, "permission of payment".into())]);
    }

    #[test]
    fn what_is_there_beyond_is_told_and_only_what_hides_events_is_wrong() {
        let tap = |key: &str| {
            json!({ "source": "order.exchange", "vhost": "/", "destination": "tap",
                "destination_type": "queue", "routing_key": key, "arguments": {} })
        };
        let more = told(|live| push(live, "bindings", tap("order.created")));
        assert_eq!(more, [(What::More, "binding order.exchange → tap by order.created".into())]);
        let hides = told(|live| push(live, "bindings", tap("#")));
        assert_eq!(hides, [(What::Hides, "binding order.exchange → tap by #".into())]);
    }
}
