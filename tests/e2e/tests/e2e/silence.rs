//! Half-open links: no byte arrives and no connection closes. Orders continue, and each affected
//! service reports that it waits.

use database::testing::Link;
use e2e::{Fleet, PLENTY, SERVICES, order, until};
use futures::future::join_all;
use std::collections::BTreeMap;
use uuid::Uuid;

struct Linked {
    fleet: Fleet,
    databases: BTreeMap<&'static str, Link>,
    brokers: BTreeMap<&'static str, Link>,
}

impl Linked {
    async fn start(settings: &[(&str, &str)]) -> Self {
        let mut fleet = Fleet::prepare(settings).await;
        let (mut databases, mut brokers) = (BTreeMap::new(), BTreeMap::new());
        for service in SERVICES {
            let (database, broker) =
                (fleet.database_url(service).to_owned(), fleet.broker.amqp_url_of(service));
            let links = (Link::to(&database).await, Link::to(&broker).await);
            let (database, broker) = (links.0.url(&database), links.1.url(&broker));
            let urls = [("DATABASE_URL", &*database), ("AMQP_URL", &*broker)];
            fleet.spawn_as(service, service, &urls);
            databases.insert(service, links.0);
            brokers.insert(service, links.1);
        }
        fleet.ready().await;
        Self { fleet, databases, brokers }
    }

    /// The number of orders in flight when the link fails.
    async fn place(&self) -> Vec<Uuid> {
        let wish = order("pix", PLENTY, 1);
        join_all((0..10).map(|_| self.fleet.place_surely(&wish))).await
    }

    async fn end(&self, orders: &[Uuid], after: &str) {
        until(|| async {
            let views = self.fleet.views(orders).await;
            match views.iter().find(|view| view["status"] != "CONFIRMED") {
                Some(view) => Err(format!("after {after} was silent: {view}")),
                None => Ok(()),
            }
        })
        .await;
    }
}

#[tokio::test]
async fn a_database_link_goes_silent_and_orders_go_on() {
    let linked = Linked::start(&[("DATABASE_DEADLINE", "2s")]).await;
    for (service, link) in &linked.databases {
        let before = linked.place().await;
        link.silence();
        let wish = order("pix", PLENTY, 1);
        // Perhaps not answered in time, and placed by a repeated request.
        let after = until(|| async {
            let answer = linked.fleet.post(&wish).await;
            match answer.status().is_success() {
                true => Ok(answer.json::<serde_json::Value>().await.unwrap()["order_id"].clone()),
                false => Err(answer.status().to_string()),
            }
        })
        .await;
        let after: Uuid = after.as_str().unwrap().parse().unwrap();
        let all: Vec<_> = before.into_iter().chain([after]).collect();
        linked.end(&all, &format!("{service}'s database")).await;
    }
    linked.fleet.verify().await;
    linked.fleet.close().await;
}

#[tokio::test]
async fn a_broker_link_goes_silent_and_orders_go_on() {
    let linked = Linked::start(&[]).await;
    let before = linked.place().await;
    for link in linked.brokers.values() {
        link.silence();
    }
    let after = linked.place().await;
    let all: Vec<_> = before.into_iter().chain(after).collect();
    linked.end(&all, "each broker link").await;
    linked.fleet.verify().await;
    linked.fleet.close().await;
}

#[tokio::test]
async fn a_service_whose_database_is_silent_is_alive_and_says_that_it_is_not_ready() {
    let linked = Linked::start(&[("DATABASE_DEADLINE", "4s")]).await;
    linked.databases["inventory"].cut();
    let orders = linked.place().await;
    let inventory = linked.fleet.process("inventory");
    until(|| async {
        let check = inventory.healthcheck();
        let said = String::from_utf8_lossy(&check.stderr).into_owned();
        // Else it would be killed for what is not its fault.
        let is_told = inventory.is_alive()
            && !check.status.success()
            && said.contains("the database does not answer")
            && said.contains("a transaction has been waiting for");
        if is_told { Ok(()) } else { Err(said) }
    })
    .await;
    linked.databases["inventory"].mend();
    linked.end(&orders, "inventory's database").await;
    linked.fleet.ready().await;
    linked.fleet.close().await;
}
