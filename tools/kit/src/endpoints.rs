//! Reads the endpoints from the settings, or from a JSON file.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use audit::Endpoints;

use crate::primary;
use crate::settings::{Settings, VHOST};

const ANSWER_WITHIN: Duration = Duration::from_secs(3);

impl From<&Settings> for Endpoints {
    fn from(settings: &Settings) -> Self {
        let databases = settings.databases.iter().map(|db| (db.service.to_owned(), db.url()));
        Self {
            databases: databases.collect(),
            amqp_url: settings.amqp_url(),
            management_url: settings.management_url(),
            management_user: settings.rabbitmq_user.clone(),
            management_password: settings.rabbitmq_password.clone(),
            vhost: VHOST.into(),
            provider_url: settings.mock_gateway_url(),
            keep_days: settings.keep_days,
        }
    }
}

/// The endpoints of the file, else of the settings.
pub async fn endpoints(file: Option<&Path>) -> Result<Endpoints> {
    let Some(file) = file else { return Ok(present(&Settings::of_running()?).await) };
    let failed = || format!("cannot read the endpoints from {}", file.display());
    serde_json::from_str(&fs::read_to_string(file).with_context(failed)?).with_context(failed)
}

/// Those of the settings; in a cluster the first node that answers, and each database's primary.
/// Where none is found it is the first, which tells why.
pub async fn present(settings: &Settings) -> Endpoints {
    let mut endpoints = Endpoints::from(settings);
    if !settings.is_cluster {
        return endpoints;
    }
    for (node, amqp_url) in settings.nodes().into_iter().zip(settings.amqp_urls()) {
        let management_url = format!("http://127.0.0.1:{}", node[1].0);
        if answers(settings, &management_url).await {
            (endpoints.amqp_url, endpoints.management_url) = (amqp_url, management_url);
            break;
        }
    }
    for database in &settings.databases {
        if let Some(url) = primary::url(settings, database).await {
            endpoints.databases.insert(database.service.to_owned(), url);
        }
    }
    endpoints
}

async fn answers(settings: &Settings, management_url: &str) -> bool {
    let client = https::plain().no_proxy().timeout(ANSWER_WITHIN).build();
    let Ok(client) = client else { return false };
    let request = client.get(format!("{management_url}/api/overview"));
    let request = request.basic_auth(&settings.rabbitmq_user, Some(&settings.rabbitmq_password));
    request.send().await.is_ok_and(|answer| answer.status().is_success())
}
