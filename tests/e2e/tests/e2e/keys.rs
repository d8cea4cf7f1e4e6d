//! Keys, roles and acts on the real binaries: by `saga`, by HTTP, and by the page.

use crate::dead_letters::{DLQ, QUEUE, TABLE, die};
use e2e::{Collector, Fleet, PLENTY, mend, order, until};
use reqwest::{Response, StatusCode};
use serde_json::Value;

async fn key(fleet: &Fleet, client: &str, role: &str) -> String {
    let arguments = ["keys", "create", client, "--role", role, "--as", "root-of-trust", "--json"];
    let said = fleet.saga(&arguments).await;
    assert_eq!(said.code, Some(0), "{said:?}");
    let key = said.json()["key"].as_str().unwrap().to_owned();
    until(|| async {
        let status = get(fleet, &key, "/orders/x").await.status();
        if status == 404 { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
    key
}

async fn get(fleet: &Fleet, key: &str, path: &str) -> Response {
    let url = format!("{}{path}", fleet.order_url);
    fleet.http.get(url).bearer_auth(key).send().await.unwrap()
}

async fn place(fleet: &Fleet, key: &str) -> String {
    let url = format!("{}/orders", fleet.order_url);
    let request = fleet.http.post(url).bearer_auth(key).json(&order("pix", PLENTY, 1));
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED);
    let placed: Value = answer.json().await.unwrap();
    placed["order_id"].as_str().unwrap().into()
}

#[tokio::test]
async fn a_client_sees_its_own_orders_to_their_end_and_no_others() {
    let fleet = Fleet::start_with(&[("API_KEYS", "required")]).await;
    let unlocked = fleet.http.get(format!("{}/orders", fleet.order_url)).send().await.unwrap();
    assert_eq!(unlocked.status(), StatusCode::UNAUTHORIZED);
    let (shop, rival) = (key(&fleet, "shop", "client").await, key(&fleet, "rival", "client").await);
    let (own, theirs) = (place(&fleet, &shop).await, place(&fleet, &rival).await);
    // The stream ends with the order: the saga goes on as it does without keys.
    let events = get(&fleet, &shop, &format!("/orders/{own}/events")).await;
    let events = events.text().await.unwrap();
    assert!(events.contains("CONFIRMED"), "{events}");
    assert_eq!(get(&fleet, &shop, &format!("/orders/{theirs}")).await.status(), 404);
    let listed = get(&fleet, &shop, "/orders").await.text().await.unwrap();
    assert!(listed.contains(&own) && !listed.contains(&theirs), "{listed}");

    let id = &shop[3..19];
    let listed = fleet.saga(&["keys", "list"]).await;
    assert!(listed.out.contains(id) && !listed.out.contains(&shop[20..]), "{listed:?}");
    let said = fleet.saga(&["keys", "revoke", id, "--reason", "it leaked"]).await;
    assert_eq!(said.code, Some(0), "{said:?}");
    until(|| async {
        let status = get(&fleet, &shop, "/orders").await.status();
        if status == 401 { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
    assert_eq!(fleet.saga(&["keys", "revoke", id]).await.code, Some(1), "it is revoked already");
    let log = fleet.process("order").log();
    for secret in [&shop, &rival] {
        assert!(!log.contains(&secret[20..]), "a secret is in the log");
    }
    fleet.close().await;
}

#[tokio::test]
async fn an_act_leaves_a_row_a_line_and_a_span() {
    let collector = Collector::start().await;
    let settings = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.as_str()),
        ("OTEL_BSP_SCHEDULE_DELAY", "100"),
    ];
    let fleet = Fleet::start_with(&settings).await;
    let stock = fleet.pool("inventory").await;
    let orders = die(&fleet, &stock, 3).await;
    mend(&stock, TABLE).await;
    let (one, other, third) = (orders[0].to_string(), orders[1].to_string(), orders[2].to_string());
    let acts: [&[&str]; 3] = [
        &["dlq", "export", "--order", &third, "--as", "anna"],
        &["dlq", "replay", "--order", &one, "--as", "anna", "--because", "the table is mended"],
        &["dlq", "purge", "--order", &other, "--as", "bert", "--because", "a test", "--yes"],
    ];
    for arguments in acts {
        let said = fleet.saga(arguments).await;
        assert_eq!(said.code, Some(0), "{said:?}");
    }
    fleet.holds(DLQ, 1).await;
    let user = fleet.saga(&["dlq", "replay", "--order", &third]).await;
    assert_eq!(user.code, Some(0), "{user:?}");
    // What is only looked at is no act.
    fleet.saga(&["dlq", "list"]).await;
    fleet.saga(&["dlq", "replay", "--all", "--dry-run"]).await;

    let audit = fleet.saga(&["audit", "--since", "1h", "--json"]).await.json();
    let told = |act: &Value| {
        let text = |name: &str| act[name].as_str().unwrap_or("-").to_owned();
        [text("who"), text("what"), text("order_id"), text("outcome"), text("reason")].join(" ")
    };
    let told: Vec<_> = audit.as_array().unwrap().iter().map(told).collect();
    assert_eq!(told[0], format!("anna dlq.export {third} exported -"));
    assert_eq!(told[1], format!("anna dlq.replay {one} replayed the table is mended"));
    assert_eq!(told[2], format!("bert dlq.purge {other} purged a test"));
    assert!(told[3].ends_with(&format!("dlq.replay {third} replayed -")), "{}", told[3]);
    assert_eq!(told.len(), 4);
    assert!(audit[1]["subject"].as_str().unwrap().starts_with(&format!("{QUEUE}.dlq ")));

    until(|| async {
        let log = fleet.process("order").log();
        let lines = log.lines().filter(|line| line.contains("operator's act")).count();
        let spans = collector.spans_about(orders[1]);
        let span = spans.iter().find(|span| span.name == "act dlq.purge");
        match (lines, span) {
            (4, Some(span)) if span.attributes["who"] == "bert" => Ok(()),
            told => Err(format!("{told:?}")),
        }
    })
    .await;
    fleet.close().await;
}
