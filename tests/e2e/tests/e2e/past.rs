//! Verifies a system that was filled with past orders.

use e2e::{Fleet, PLENTY, order};
use lab::fill::{Past, fill};
use messaging::{Env, SystemEnv};
use std::time::Duration;

#[tokio::test]
async fn orders_of_the_past_hold_as_if_the_services_had_left_them() {
    let fleet = Fleet::start().await;
    let span = Duration::from_hours(29 * 24);
    let past = Past { orders: 300, from: SystemEnv.now() - span, span };
    fill(&fleet.endpoints().databases, past, |_| {}).await.unwrap();
    let new = fleet.place(&order("pix", PLENTY, 1)).await;
    assert_eq!(fleet.ends(new).await["status"], "CONFIRMED");
    let verdict = fleet.verify().await;
    assert_eq!((verdict.checked.orders, verdict.checked.idempotency_keys), (301, 6 * 301));
    let oldest = "SELECT id FROM orders ORDER BY id LIMIT 1";
    let pool = fleet.pool("order").await;
    let oldest: uuid::Uuid = sqlx::query_scalar(oldest).fetch_one(&pool).await.unwrap();
    assert_eq!(fleet.ends(oldest).await["timeline"].as_array().map(Vec::len), Some(4));
    fleet.close().await;
}
