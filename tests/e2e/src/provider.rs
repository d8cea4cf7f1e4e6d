//! Starts, stops and inspects the mock payment provider.

use crate::{ServiceProcess, free_address, until};
use reqwest::Client;
use serde_json::Value;
use servers::Watchdog;
use sqlx::PgPool;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};
use uuid::Uuid;

pub struct Provider {
    pub url: String,
    folder: PathBuf,
    settings: BTreeMap<String, String>,
    watchdog: Arc<Watchdog>,
    http: Client,
    process: Option<ServiceProcess>,
}

impl Provider {
    /// It keeps its books in the folder, so that they survive a restart.
    pub async fn start(folder: &Path, watchdog: Arc<Watchdog>, settings: &[(&str, &str)]) -> Self {
        let settings = settings.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        let mut provider = Self {
            url: format!("http://{}", free_address()),
            folder: folder.into(),
            settings: settings.collect(),
            watchdog,
            http: https::plain().pool_max_idle_per_host(0).build().expect("a client"),
            process: None,
        };
        provider.restart().await;
        provider
    }

    /// Starts it again, with its original behaviour.
    pub async fn restart(&mut self) {
        let ledger = self.folder.join("provider.ledger").display().to_string();
        let mut settings = self.settings.clone();
        settings.extend([
            ("MOCK_GATEWAY_ADDR".into(), self.url.replace("http://", "")),
            ("MOCK_GATEWAY_LEDGER".into(), ledger),
        ]);
        let log = self.folder.join("provider.log");
        let process = ServiceProcess::start("mock-gateway", settings, &log, &self.watchdog);
        until(|| async {
            let check = process.healthcheck();
            if check.status.success() { Ok(()) } else { Err(process.log()) }
        })
        .await;
        self.process = Some(process);
    }

    pub fn kill(&mut self) {
        self.process.take().expect("it runs").kill();
    }

    pub async fn behave(&self, change: Value) {
        let asked = self.http.put(format!("{}/behaviour", self.url)).json(&change);
        let answer = asked.send().await.expect("it answers");
        assert!(answer.status().is_success(), "{change}: {}", answer.status());
    }

    /// The provider's books.
    pub async fn books(&self) -> Value {
        let answer = self.http.get(format!("{}/charges", self.url)).send().await;
        answer.expect("it answers").json().await.expect("the answer is JSON")
    }

    /// One of its counters: `charges`, `refunds`, `voided`, `calls`.
    pub async fn total(&self, what: &str) -> u64 {
        self.books().await["totals"][what].as_u64().expect("it counts that")
    }

    /// Waits until a counter reaches this number.
    pub async fn counts(&self, what: &str, at_least: u64) {
        until(|| async {
            let total = self.total(what).await;
            if total >= at_least { Ok(()) } else { Err(format!("{total} {what}")) }
        })
        .await;
    }

    pub async fn charges_of(&self, order: Uuid) -> usize {
        let books = self.books().await;
        let charges = books["charges"].as_array().expect("a list");
        charges.iter().filter(|charge| charge["order_id"] == order.to_string()).count()
    }

    /// The number of charge requests for an order.
    pub async fn asked(&self, payments: &PgPool, order: Uuid) -> u64 {
        let key: Uuid = sqlx::query_scalar("SELECT charge_key FROM payments WHERE order_id = $1")
            .bind(order)
            .fetch_one(payments)
            .await
            .expect("the payment is there");
        let answer = self.http.get(format!("{}/charges/{key}", self.url)).send().await;
        let answer: Value = answer.expect("it answers").json().await.expect("the answer is JSON");
        answer["asked"].as_u64().unwrap_or_default()
    }
}
