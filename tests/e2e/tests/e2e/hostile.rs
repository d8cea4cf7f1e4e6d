//! Messages that no service would publish, hostile in every property, header, type and body: each
//! becomes a dead letter with all its bytes, and no other message is delayed.

use e2e::{Fleet, PLENTY, order, until};
use events::SAGA;
use futures::future::join_all;
use messaging::{Env, SystemEnv, dead_letters, queue_name};
use servers::raw::{Hostile, RawPublisher, hostile};
use std::collections::BTreeMap;

async fn publisher(fleet: &Fleet) -> RawPublisher {
    let (host, vhost) = fleet.broker.amqp_url.rsplit_once('/').unwrap();
    let port = host.rsplit_once(':').unwrap().1.parse().unwrap();
    RawPublisher::connect("127.0.0.1", port, "admin", "admin", vhost).await.unwrap()
}

/// Every message of the catalogue into every queue, but for one.
async fn attack(fleet: &Fleet) -> BTreeMap<String, Vec<Hostile>> {
    let attacks = SAGA.iter().enumerate().map(|(place, step)| async move {
        let mut raw = publisher(fleet).await;
        let queue = queue_name(step.service, step.hears);
        let mut all = hostile(step.hears, || SystemEnv.new_id().to_string());
        // RabbitMQ takes seconds for them, each time that they are published or delivered.
        all.retain(|one| place == 0 || !one.name.contains("nested 15,000 deep"));
        for one in &all {
            let properties = one.properties.bytes();
            let put = raw.publish("", queue.as_bytes(), &properties, &one.body).await;
            put.unwrap_or_else(|why| panic!("{}: {why:#}", one.name));
        }
        (queue, all)
    });
    join_all(attacks).await.into_iter().collect()
}

#[tokio::test]
async fn each_is_a_dead_letter_with_its_bytes_and_its_neighbours_go_on() {
    let fleet = Fleet::start().await;
    let (sent, orders) = tokio::join!(attack(&fleet), async {
        let mut orders = Vec::new();
        for _ in 0..20 {
            orders.push(fleet.place(&order("pix", PLENTY, 1)).await);
        }
        orders
    });
    for order in join_all(orders.into_iter().map(|id| fleet.ends(id))).await {
        assert_eq!(order["status"], "CONFIRMED", "{order}");
    }
    until(|| async {
        let parkings: Vec<_> = sent.keys().map(|queue| dead_letters(queue)).collect();
        let there = fleet.broker.ready(&parkings).await;
        let missing: Vec<_> = sent
            .iter()
            .zip(there)
            .filter(|((_, all), there)| all.len() != *there as usize)
            .map(|((queue, all), there)| format!("{queue}: {there} of {}", all.len()))
            .collect();
        if missing.is_empty() { Ok(()) } else { Err(missing.join(", ")) }
    })
    .await;
    // Each service still works, and reports that it is ready.
    fleet.ready().await;
    let after = fleet.place(&order("pix", PLENTY, 1)).await;
    assert_eq!(fleet.ends(after).await["status"], "CONFIRMED");

    let list = fleet.saga(&["dlq", "list", "--json"]).await.json();
    let heaps = list.as_array().unwrap();
    assert_eq!(heaps.len(), sent.len(), "{list}");
    for heap in heaps {
        for reason in heap["reasons"].as_object().unwrap().keys() {
            assert!(reason.len() < 2000 && reason != "no reason given", "{reason}");
        }
    }
    let queue = "inventory.payment-approved";
    let shown = fleet.saga(&["dlq", "show", queue]).await;
    assert!(
        shown.out.contains("its property message_id contains bytes that are not UTF-8"),
        "{shown:?}"
    );
    let purged = fleet.saga(&["dlq", "purge", queue, "--yes", "--json"]).await;
    assert_eq!(purged.code, Some(0), "{purged:?}");
    for (queue, all) in sent.iter().filter(|(name, _)| *name != queue) {
        let mut bodies: Vec<_> = all.iter().map(|one| one.body.clone()).collect();
        let letters = fleet.broker.drain(&dead_letters(queue)).await;
        let mut found: Vec<_> = letters.into_iter().map(|letter| letter.body).collect();
        bodies.sort();
        found.sort();
        assert_eq!(bodies.len(), found.len(), "{queue}");
        assert!(bodies == found, "the bodies in {queue} are not what was sent");
    }
    fleet.close().await;
}

/// An unreadable message is replayed only with readable properties.
#[tokio::test]
async fn an_unreadable_letter_is_exported_and_comes_back_with_properties_of_its_own() {
    let fleet = Fleet::start().await;
    let queue = "order.payment-failed";
    let all = hostile("payment.failed", || SystemEnv.new_id().to_string());
    let no_id = all.into_iter().find(|one| one.name == "message_id is no UTF-8").unwrap();
    let id = fleet.place(&order("card_slow", PLENTY, 1)).await;
    let body = format!(r#"{{"order_id":"{id}","reason":"declined","attempts":1}}"#);
    let mut raw = publisher(&fleet).await;
    raw.publish("", queue.as_bytes(), &no_id.properties.bytes(), body.as_bytes()).await.unwrap();
    fleet.holds(&dead_letters(queue), 1).await;
    let replayed = fleet.saga(&["dlq", "replay", queue, "--json"]).await;
    assert_eq!(replayed.json()[0]["outcome"], "refused", "{replayed:?}");
    let exported = fleet.saga(&["dlq", "export", queue]).await;
    assert_eq!(exported.code, Some(0), "{exported:?}");
    let mut line: serde_json::Value = serde_json::from_str(&exported.out).unwrap();
    assert_eq!(line["body"]["order_id"], id.to_string(), "{line}");
    assert!(line["headers"]["unreadable-bytes"].as_str().unwrap().contains(r"\xff"), "{line}");
    line["type"] = "payment.failed".into();
    line["headers"] = serde_json::json!({ "schema-version": 1 });
    let file = fleet.file("letter.jsonl");
    std::fs::write(&file, line.to_string()).unwrap();
    let file = file.display().to_string();
    let imported = fleet.saga(&["dlq", "import", &file, "--new-id", "--replay", "--json"]).await;
    assert_eq!(imported.json()[0]["outcome"], "repaired", "{imported:?}");
    fleet.reaches(id, "PAYMENT_FAILED").await;
    fleet.close().await;
}
