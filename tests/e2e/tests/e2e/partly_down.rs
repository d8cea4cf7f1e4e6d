//! With a part of the system away or frozen, operators' commands say what they can read, and name
//! the part, in bounded time.

use audit::Endpoints;
use database::testing::Link;
use e2e::{BOUND, Fleet, OVERSIZED, PLENTY, free_address, order, until};
use saga_cli::why::{Place, Report, why};
use std::time::Instant;
use uuid::Uuid;

const OTHERS: [&str; 3] = ["payment", "inventory", "shipping"];

/// The endpoints with this database, or `rabbitmq`, at another address.
fn with(endpoints: &Endpoints, part: &str, moved: impl Fn(&str) -> String) -> Endpoints {
    let mut endpoints = endpoints.clone();
    match endpoints.databases.get_mut(part) {
        Some(url) => *url = moved(url),
        None => endpoints.amqp_url = moved(&endpoints.amqp_url),
    }
    endpoints
}

/// The endpoints where this part refuses connections, and where it is silent as a frozen one is.
pub async fn away(fleet: &Fleet, part: &str) -> ([Endpoints; 2], Link) {
    let endpoints = fleet.endpoints();
    let url = endpoints.databases.get(part).unwrap_or(&endpoints.amqp_url).clone();
    let silent = Link::to(&url).await;
    silent.cut();
    let refused = |url: &str| {
        let (start, rest) = url.split_once('@').expect("it has a login");
        let (_, path) = rest.split_once('/').expect("it has a path");
        format!("{start}@{}/{path}", free_address())
    };
    let moved = |url: &str| silent.url(url);
    ([with(&endpoints, part, refused), with(&endpoints, part, moved)], silent)
}

async fn told(endpoints: &Endpoints, order: Uuid) -> Report {
    let begun = Instant::now();
    let report = why(endpoints, &order.to_string()).await.unwrap();
    assert!(begun.elapsed() < BOUND, "it took {:?}", begun.elapsed());
    report
}

fn unread(report: &Report) -> Vec<&str> {
    report.unread.iter().map(|unread| &*unread.part).collect()
}

#[tokio::test]
async fn why_tells_what_can_be_read_and_names_what_cannot() {
    let mut fleet = Fleet::start().await;
    let mut finished = Vec::new();
    for wish in [order("pix", PLENTY, 1), order("pix", OVERSIZED, 1)] {
        let id = fleet.place(&wish).await;
        fleet.ends(id).await;
        finished.push(id);
    }
    fleet.verify().await;
    fleet.take("payment").kill();
    let stuck = fleet.place(&order("pix", PLENTY, 1)).await;
    until(|| async {
        let report = told(&fleet.endpoints(), stuck).await;
        match &report.missing[..] {
            [it] if matches!(it.place, Place::Queue { ready: 1 }) && it.is_certain => Ok(()),
            _ => Err(format!("{report:#?}")),
        }
    })
    .await;

    for part in OTHERS.into_iter().chain(["rabbitmq"]) {
        let (endpoints, _link) = away(&fleet, part).await;
        for id in &finished {
            let report = told(&endpoints[0], *id).await;
            assert!(report.missing.is_empty() && report.is_final, "{part}: {report:#?}");
            assert_eq!(report.unread.len(), 1, "{part}: {report:#?}");
        }
        for endpoints in endpoints {
            let report = told(&endpoints, stuck).await;
            let [missing] = &report.missing[..] else { panic!("{part}: {report:#?}") };
            assert_eq!((&*missing.service, &*missing.event), ("payment", "order.created"));
            match (part, &missing.place) {
                ("payment", Place::Unknown { may_be }) => {
                    assert_eq!(unread(&report), ["payment's database"]);
                    let in_queue = "in payment.order-created (1 message ready)";
                    assert_eq!(may_be[..], ["handled by payment", in_queue]);
                    assert_eq!((missing.is_certain, missing.consumers), (false, Some(0)));
                }
                ("rabbitmq", Place::Unknown { may_be }) => {
                    assert_eq!(unread(&report), ["rabbitmq"]);
                    let places = ["in payment.order-created", "in a retry tier", "a dead letter"];
                    assert_eq!(may_be[..], places);
                    assert_eq!((missing.is_certain, missing.consumers), (true, None));
                }
                // They have no part in it.
                ("inventory" | "shipping", Place::Queue { ready: 1 }) => {
                    assert!(missing.is_certain, "{report:#?}");
                }
                _ => panic!("{part}: {report:#?}"),
            }
            assert_eq!(report.unread.len(), 1, "{report:#?}");
        }
    }
    let ([refused, _], _link) = away(&fleet, "payment").await;
    let said = fleet.saga_at(&refused, &["why", &stuck.to_string()]).await;
    let lines = said.out.lines().filter(|line| line.contains("is not read"));
    assert!(said.code == Some(0) && lines.count() == 1, "{said:?}");
    let said = fleet.saga_at(&refused, &["why", &stuck.to_string(), "--json"]).await;
    assert_eq!(said.json()["unread"][0]["part"], "payment's database", "{said:?}");
    fleet.close().await;
}

#[tokio::test]
async fn no_check_passes_where_a_part_was_not_read() {
    let fleet = Fleet::start().await;
    fleet.ends(fleet.place(&order("pix", PLENTY, 1)).await).await;
    fleet.verify().await;
    for part in ["order", "payment", "rabbitmq"] {
        let (endpoints, _link) = away(&fleet, part).await;
        for endpoints in endpoints {
            for arguments in [&["verify", "--wait", "1"][..], &["verify", "--since-last"]] {
                let begun = Instant::now();
                let said = fleet.saga_at(&endpoints, arguments).await;
                assert!(begun.elapsed() < BOUND, "it took {:?}", begun.elapsed());
                let is_one_line = said.error.trim_end().lines().count() == 1;
                assert!(said.code == Some(2) && said.out.is_empty() && is_one_line, "{said:?}");
                let name = if part == "rabbitmq" { "RabbitMQ" } else { part };
                assert!(said.error.contains(name), "{said:?}");
            }
        }
    }
    fleet.close().await;
}

#[tokio::test]
async fn why_says_in_one_line_that_it_needs_orders_database() {
    let fleet = Fleet::start().await;
    let id = fleet.place(&order("pix", PLENTY, 1)).await.to_string();
    let (endpoints, _link) = away(&fleet, "order").await;
    for endpoints in endpoints {
        let begun = Instant::now();
        let said = fleet.saga_at(&endpoints, &["why", &id]).await;
        assert!(begun.elapsed() < BOUND, "it took {:?}", begun.elapsed());
        assert!(said.code == Some(1) && said.error.trim_end().lines().count() == 1, "{said:?}");
        assert!(said.error.contains("order's database"), "{said:?}");
    }
    fleet.close().await;
}
