//! The files of the Compose profile `observability`, read as Prometheus, Grafana and Compose read
//! them.

mod promql;

pub use promql::{Selector, selectors};
use serde_json::Value;

pub const FOLDER: &str = "deploy/observability";
pub const DASHBOARDS: [&str; 2] = ["saga", "machine-room"];

/// A file of the folder, with merged keys (`<<`) resolved.
pub fn yaml(file: &str) -> Value {
    parse(&format!("{FOLDER}/{file}"))
}

pub fn compose() -> Value {
    parse("docker-compose.yml")
}

/// What is added to it for a cluster.
pub fn cluster() -> Value {
    layer("cluster")
}

/// A file that is laid over it, without the tags that say how.
pub fn layer(name: &str) -> Value {
    parse(&format!("deploy/docker/{name}.yml"))
}

fn parse(path: &str) -> Value {
    let file = tidy::read(path).replace("!override", "").replace("!reset", "");
    serde_saphyr::from_str(&file).unwrap_or_else(|why| panic!("{path}: {why}"))
}

pub fn dashboard(name: &str) -> Value {
    let path = format!("{FOLDER}/grafana/dashboards/{name}.json");
    serde_json::from_str(&tidy::read(&path)).unwrap_or_else(|why| panic!("{path}: {why}"))
}

pub fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Every alarm rule.
pub fn alarms() -> Vec<Value> {
    let rules = yaml("alerts.yml");
    array(&rules["groups"]).iter().flat_map(|group| array(&group["rules"])).cloned().collect()
}

/// Every query of alarms and dashboards, with its place.
pub fn queries() -> Vec<(String, String)> {
    let alarms = alarms()
        .into_iter()
        .map(|rule| (format!("alarm {}", text(&rule["alert"])), text(&rule["expr"]).to_owned()));
    let mut queries: Vec<_> = alarms.collect();
    for name in DASHBOARDS {
        for panel in array(&dashboard(name)["panels"]) {
            let place = format!("dashboard {name}, panel {:?}", text(&panel["title"]));
            let targets = array(&panel["targets"]).iter();
            queries.extend(targets.map(|it| (place.clone(), text(&it["expr"]).to_owned())));
        }
    }
    queries
}
