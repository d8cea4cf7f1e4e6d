//! `saga topology --check` reports each difference between a broker and the saga's topology.

use e2e::Fleet;
use kit::{
    definitions::{logins, topology},
    settings::Settings,
};
use serde_json::Value;

const CHECK: [&str; 3] = ["topology", "--check", "--json"];

fn told(differences: &Value, what: &str) -> Vec<String> {
    let all = differences.as_array().unwrap().iter().filter(|one| one["what"] == what);
    all.map(|one| format!("{} {}", one["kind"], one["name"]).replace('"', "")).collect()
}

#[tokio::test]
async fn a_missing_binding_and_one_that_hides_events_are_noticed() {
    let fleet = Fleet::prepare(&[]).await;
    let settings = Settings::from(|_| None).unwrap();
    let asked = || topology(&settings, &fleet.broker.vhost);
    fleet.broker.import(asked()).await;
    fleet.broker.import(logins(&settings, &fleet.broker.vhost)).await;
    let fine = fleet.saga(&CHECK).await;
    assert_eq!((fine.code, &fine.json()["as_asked"]), (Some(0), &true.into()), "{fine:?}");

    fleet.broker.unbind("payment.order-created", "order.exchange", "order.created").await;
    fleet.broker.tap().await;
    let wrong = fleet.saga(&CHECK).await;
    assert_eq!(wrong.code, Some(1), "{wrong:?}");
    let differences = &wrong.json()["differences"];
    let missing = "binding order.exchange → payment.order-created by order.created";
    assert_eq!(told(differences, "missing"), [missing]);
    let hiding = events::SERVICES.iter().map(|it| format!("binding {it}.exchange → tap by #"));
    let mut hiding: Vec<_> = hiding.collect();
    hiding.sort();
    assert_eq!(told(differences, "hides"), hiding);

    fleet.broker.import(asked()).await;
    fleet.broker.untap().await;
    assert_eq!(fleet.saga(&["topology", "--check"]).await.code, Some(0));
    fleet.close().await;
}
