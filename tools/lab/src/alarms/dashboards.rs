//! Evaluates the dashboards' queries during a run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use tokio::time::sleep;

use super::prometheus::Prometheus;

const DASHBOARDS: [(&str, &str); 2] = [
    ("saga", include_str!("../../../../deploy/observability/grafana/dashboards/saga.json")),
    (
        "machine-room",
        include_str!("../../../../deploy/observability/grafana/dashboards/machine-room.json"),
    ),
];
const RATE_INTERVAL: &str = "$__rate_interval";

/// A query, with its place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Query {
    panel: String,
    text: String,
}

/// The queries that have not found anything so far, and the errors of others.
#[derive(Debug, Default)]
pub struct Findings {
    pub queries: usize,
    empty: BTreeSet<Query>,
    errors: BTreeMap<Query, String>,
}

/// Grafana's rate interval is four times the interval of scrapes.
fn queries(scraped_every: Duration) -> Result<Vec<Query>> {
    let interval = format!("{}ms", (4 * scraped_every).as_millis());
    let mut queries = Vec::new();
    for (name, text) in DASHBOARDS {
        let board: Value = serde_json::from_str(text)?;
        for panel in board["panels"].as_array().context("a dashboard has panels")? {
            let title = panel["title"].as_str().unwrap_or_default();
            for target in panel["targets"].as_array().into_iter().flatten() {
                let text = target["expr"].as_str().context("a target has a query")?;
                let text = text.replace(RATE_INTERVAL, &interval);
                queries.push(Query { panel: format!("{name}, {title:?}"), text });
            }
        }
    }
    Ok(queries)
}

/// Asks again and again, until it is dropped.
pub async fn watch(
    prometheus: Prometheus,
    scraped_every: Duration,
    findings: Arc<Mutex<Findings>>,
) -> Result<()> {
    let queries = queries(scraped_every)?;
    {
        let mut findings = findings.lock().unwrap_or_else(PoisonError::into_inner);
        findings.queries = queries.len();
        findings.empty = queries.iter().cloned().collect();
    }
    loop {
        for query in &queries {
            let found = prometheus.count(&query.text).await;
            let mut findings = findings.lock().unwrap_or_else(PoisonError::into_inner);
            match found {
                Ok(0) => {}
                Ok(_) => drop(findings.empty.remove(query)),
                Err(why) => drop(findings.errors.insert(query.clone(), format!("{why:#}"))),
            }
        }
        sleep(scraped_every).await;
    }
}

impl Findings {
    /// One line each; `all` where the run was long enough for all queries to find something.
    pub fn breaks(&self, all: bool) -> Vec<String> {
        let empty = self.empty.iter().filter(|query| all && !self.errors.contains_key(query));
        let empty =
            empty.map(|Query { panel, text }| format!("{panel} never shows anything: {text}"));
        let errors = self.errors.iter();
        let errors = errors.map(|(Query { panel, text }, why)| format!("{panel}: {why}: {text}"));
        empty.chain(errors).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_variable_is_left_in_a_query() {
        let queries = queries(Duration::from_secs(1)).unwrap();
        assert!(queries.len() > 40, "{}", queries.len());
        for query in queries {
            assert!(!query.text.contains('$'), "{query:?}: substitute it");
        }
    }
}
