//! The service keeps what `/openapi.json` promises, for every request of every client.

use e2e::{Fleet, Python};
use serde_json::Value;
use std::env;

/// `CONTRACT_EXAMPLES=2000` makes ten times as many.
const CASES_MIN: u64 = 1000;

#[tokio::test]
async fn a_stranger_asks_a_thousand_things_and_is_answered_as_promised() {
    asks(Fleet::start_https(&[]).await, None).await;
}

#[tokio::test]
async fn a_client_with_a_key_asks_a_thousand_things_and_is_answered_as_promised() {
    let fleet = Fleet::start_https(&[("API_KEYS", "required")]).await;
    let said = fleet.saga(&["keys", "create", "stranger", "--role", "operator", "--json"]).await;
    let key = said.json()["key"].as_str().unwrap().to_owned();
    asks(fleet, Some(&format!("Authorization: Bearer {key}"))).await;
}

async fn asks(fleet: Fleet, header: Option<&str>) {
    let python = Python::with_tools().await;
    let url = format!("{}/openapi.json", fleet.order_url);
    let text = fleet.http.get(&url).send().await.unwrap().text().await.unwrap();
    let document = fleet.file("openapi.json");
    std::fs::write(&document, text).unwrap();
    let document = document.display().to_string();
    let (events, fixtures) = ("../../../docs/events", "../../../shared/events/fixtures");
    let examples = python.run(&["examples.py", &document, events, fixtures]).await;
    eprintln!("{}", examples.unwrap_or_else(|wrong| panic!("{wrong}")));

    let report = fleet.file("schemathesis.json");
    let path = report.display().to_string();
    let arguments = ["-m", "schemathesis.cli", "--config-file", "schemathesis.toml", "run", &url];
    let ca_file = fleet.ca_file().display().to_string();
    let report_to = ["--report", "json", "--report-json-path", &path, "--tls-verify", &ca_file];
    let more = env::var("CONTRACT_EXAMPLES").ok();
    let more = more.as_ref().map(|count| ["--max-examples", count.as_str()]);
    let key = header.map(|header| ["--header", header]);
    let options: Vec<_> = [more, key].into_iter().flatten().flatten().collect();
    let arguments = [&arguments[..], &report_to, &options].concat();
    let said = python.run(&arguments).await.unwrap_or_else(|failures| panic!("{failures}"));
    let summary = said.split_once("SUMMARY").map_or(said.as_str(), |(_, summary)| summary);
    eprintln!("{}", summary.trim_start_matches(['=', ' ']));
    let report: Value = serde_json::from_str(&std::fs::read_to_string(report).unwrap()).unwrap();
    let cases = report["test_cases"]["generated"].as_u64().unwrap();
    assert!(cases >= CASES_MIN, "only {cases} cases");
    fleet.close().await;
}
