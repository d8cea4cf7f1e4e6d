//! Asks Prometheus for its alerts, and for the results of queries.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::Client;
use serde::{Deserialize, Serialize};
use serde_json::Value;

const ANSWER_WITHIN: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub struct Prometheus {
    url: String,
    http: Client,
}

/// An alert that is pending, or rings.
#[derive(Clone, Debug, Deserialize)]
pub struct Alert {
    pub state: State,
    labels: BTreeMap<String, String>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Pending,
    Firing,
}

/// An alert's name, and for whom it rings.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Ring {
    pub alert: String,
    pub whom: String,
}

impl Prometheus {
    pub fn at(url: &str) -> Result<Self> {
        let http = https::plain().no_proxy().timeout(ANSWER_WITHIN).build()?;
        Ok(Self { url: url.to_owned(), http })
    }

    pub async fn alerts(&self) -> Result<Vec<Alert>> {
        let answer = self.get("alerts", &[]).await?;
        serde_json::from_value(answer["alerts"].clone()).context("Prometheus lists its alerts")
    }

    /// The number of series that a query finds now.
    pub async fn count(&self, query: &str) -> Result<usize> {
        let answer = self.get("query", &[("query", query)]).await?;
        Ok(answer["result"].as_array().context("a query has results")?.len())
    }

    async fn get(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value> {
        let request = self.http.get(format!("{}/api/v1/{path}", self.url)).query(parameters);
        let mut answer: Value = request.send().await?.json().await?;
        ensure!(answer["status"] == "success", "Prometheus says {}", answer["error"]);
        Ok(answer["data"].take())
    }
}

impl Alert {
    pub fn ring(&self) -> Ring {
        let named = |name: &str| self.labels.get(name).cloned();
        let whom = ["service", "queue", "job"].into_iter().find_map(named);
        Ring { alert: named("alertname").unwrap_or_default(), whom: whom.unwrap_or_default() }
    }
}
