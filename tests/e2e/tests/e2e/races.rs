//! Many requests at once: for the last items in stock, against a cancel, and to several replicas.

use e2e::{Fleet, LIMITED, PLENTY, SERVICES, order};
use futures::future::join_all;
use serde_json::Value;
use std::time::Duration;

#[tokio::test]
async fn forty_orders_for_ten_pieces_sell_exactly_ten() {
    let fleet = Fleet::start().await;
    let wish = order("pix", LIMITED, 1);
    let orders = join_all((0..40).map(|_| fleet.place(&wish))).await;
    let ended = join_all(orders.iter().map(|id| fleet.ends(*id))).await;
    let count = |status: &str| ended.iter().filter(|order| order["status"] == status).count();
    assert_eq!((count("CONFIRMED"), count("CANCELLED")), (10, 30));
    let reversed: i64 =
        sqlx::query_scalar("SELECT COUNT(*) FROM payments WHERE status = 'REVERSED'")
            .fetch_one(&fleet.pool("payment").await)
            .await
            .unwrap();
    assert_eq!(reversed, 30, "who got nothing has his money back");
    fleet.verify().await;
    fleet.close().await;
}

#[tokio::test]
async fn a_cancel_may_race_every_single_step() {
    let fleet = Fleet::start().await;
    // One order per delay: cancelled at once, then a little later each time, past the usual end.
    let wish = order("pix", PLENTY, 1);
    let raced = join_all((0..60_u64).map(|moment| {
        let (fleet, wish) = (&fleet, &wish);
        async move {
            let id = fleet.place(wish).await;
            tokio::time::sleep(Duration::from_millis(moment * 3)).await;
            (id, fleet.cancel(id).await)
        }
    }))
    .await;
    let ended = join_all(raced.iter().map(|(id, _)| fleet.ends(*id))).await;
    for ((id, answer), ended) in raced.iter().zip(&ended) {
        let expected = match answer.as_u16() {
            202 => "CANCELLED",
            409 => "CONFIRMED",
            other => panic!("{other}"),
        };
        assert_eq!(ended["status"], expected, "{id}: {ended}");
    }
    fleet.verify().await;
    fleet.close().await;
}

/// The cancel arrives at exactly one step each: the service of the next step is not running yet.
#[tokio::test]
async fn a_cancel_at_each_step_is_honoured() {
    let mut fleet = Fleet::start().await;
    for late in ["payment", "inventory", "shipping"] {
        fleet.take(late).kill();
        let id = fleet.place(&order("pix", PLENTY, 1)).await;
        let reached = match late {
            "payment" => "PENDING",
            "inventory" => "PAYMENT_APPROVED",
            _ => "INVENTORY_RESERVED",
        };
        fleet.reaches(id, reached).await;
        assert_eq!(fleet.cancel(id).await, 202);
        fleet.spawn(late);
        let ended = fleet.ends(id).await;
        assert_eq!(ended["status"], "CANCELLED", "{late}: {ended}");
    }
    fleet.verify().await;
    fleet.close().await;
}

#[tokio::test]
async fn two_of_each_service_do_everything_once() {
    // Small batches: otherwise the first of the two could take all orders.
    let mut fleet = Fleet::start_with(&[("BATCH_MAX", "2")]).await;
    let second = e2e::free_address();
    for service in SERVICES {
        fleet.spawn_as(service, &format!("{service}-2"), &[("HTTP_ADDR", &second)]);
    }
    fleet.ready().await;
    let wishes: Vec<Value> = [("pix", PLENTY), ("card_flaky", PLENTY), ("pix", e2e::OVERSIZED)]
        .map(|(method, product)| order(method, product, 1))
        .into_iter()
        .cycle()
        .take(90)
        .collect();
    let orders = join_all(wishes.iter().map(|wish| fleet.place(wish))).await;
    for (at, id) in orders.iter().enumerate() {
        let expected = if at % 3 == 2 { "CANCELLED" } else { "CONFIRMED" };
        assert_eq!(fleet.ends(*id).await["status"], expected);
    }
    fleet.verify().await;
    fleet.close().await;
}
