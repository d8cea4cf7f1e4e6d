//! Several addresses in `AMQP_URL` and `DATABASE_URL`, some of them wrong, and some that go away.

use database::testing::Link;
use e2e::{Fleet, PLENTY, SERVICES, order, until};
use futures::future::join_all;

/// Nothing listens there.
const DEAD: &str = "127.0.0.1:1";

/// The same URL with other addresses.
fn with(url: &str, addresses: &str) -> String {
    let (front, back) = url.split_once('@').expect("it has a user");
    let (_, back) = back.split_once('/').expect("it has a path");
    format!("{front}@{addresses}/{back}")
}

/// The address in a URL.
fn address(url: &str) -> &str {
    let (_, back) = url.split_once('@').expect("it has a user");
    back.split_once('/').expect("it has a path").0
}

#[tokio::test]
async fn a_wrong_address_is_named_once_and_a_node_that_goes_silent_is_left() {
    let mut fleet = Fleet::prepare(&[("DATABASE_DEADLINE", "4s")]).await;
    let mut links = Vec::new();
    for service in SERVICES {
        let (database, broker) =
            (fleet.database_url(service).to_owned(), fleet.broker.amqp_url_of(service));
        let (to_database, to_broker) = (Link::to(&database).await, Link::to(&broker).await);
        let through = to_database.url(&database);
        let hosts = format!("{DEAD},{},{}", address(&through), address(&database));
        let databases = with(&database, &hosts);
        let brokers = [
            &*with(&broker, DEAD),
            &broker.replace(service, "nobody"),
            &to_broker.url(&broker),
            &broker,
        ]
        .join(",");
        let urls = [("DATABASE_URL", &*databases), ("AMQP_URL", &*brokers)];
        fleet.spawn_as(service, service, &urls);
        links.extend([to_database, to_broker]);
    }
    fleet.ready().await;
    let wish = order("pix", PLENTY, 1);
    let mut all = join_all((0..10).map(|_| fleet.place_surely(&wish))).await;
    for link in &links {
        link.cut();
    }
    all.push(fleet.place_surely(&wish).await);
    until(|| async {
        let views = fleet.views(&all).await;
        match views.iter().find(|view| view["status"] != "CONFIRMED") {
            Some(view) => Err(view.to_string()),
            None => Ok(()),
        }
    })
    .await;
    for service in SERVICES {
        let log = fleet.process(service).log();
        let count = |text: &str| log.matches(text).count();
        assert_eq!(count(&format!("cannot use {service}@{DEAD} of AMQP_URL")), 1, "{log}");
        assert_eq!(count("cannot use nobody@127.0.0.1"), 1, "{log}");
        assert_eq!(count(&format!("cannot use {DEAD} of DATABASE_URL")), 1, "{log}");
        assert!(!log.contains("nobody:"), "no password is in {log}");
    }
    fleet.verify().await;
    fleet.close().await;
}
