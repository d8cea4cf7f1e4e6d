//! Reads RabbitMQ's management API.

use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::Client;
use serde::de::DeserializeOwned;

use crate::{Endpoints, Silent};

const ANSWER_WITHIN: Duration = Duration::from_secs(10);

pub struct Management {
    endpoints: Endpoints,
    http: Client,
}

impl Management {
    pub fn at(endpoints: &Endpoints) -> Result<Self> {
        let http = https::client(&endpoints.management_url, None)?
            .no_proxy()
            .timeout(ANSWER_WITHIN)
            .build()?;
        Ok(Self { endpoints: endpoints.clone(), http })
    }

    /// What stands below `/api/`; only these fields of it, where some are named.
    pub async fn get<T: DeserializeOwned>(&self, path: &str, columns: Option<&str>) -> Result<T> {
        let Endpoints { management_url, management_user, management_password, .. } =
            &self.endpoints;
        let request = self.http.get(format!("{management_url}/api/{path}"));
        let request = request
            .query(&columns.map(|columns| [("columns", columns)]))
            .basic_auth(management_user, Some(management_password));
        let sent = request.send().await;
        if sent.as_ref().is_err_and(reqwest::Error::is_timeout) {
            let part = "RabbitMQ's management page".to_owned();
            return Err(Silent { part, within: ANSWER_WITHIN }.into());
        }
        let answer = sent.context(
            "RabbitMQ's management page is not reachable: run `make up`, or set \
             RABBITMQ_MANAGEMENT_PORT",
        )?;
        let answer =
            answer.error_for_status().context("RabbitMQ's management API rejected the request")?;
        let told = || format!("RabbitMQ's management API has no {path}");
        answer.json().await.with_context(told)
    }

    /// The virtual host as it stands in a path.
    pub fn vhost(&self) -> String {
        self.endpoints.vhost.replace('/', "%2F")
    }
}
