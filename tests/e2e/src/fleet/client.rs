//! Places, reads and cancels orders by HTTP, as a customer does.

use super::Fleet;
use crate::{Order, until};
use futures::future::join_all;
use reqwest::{Response, StatusCode};
use serde_json::Value;
use uuid::Uuid;

impl Fleet {
    pub async fn post(&self, order: &Value) -> Response {
        let url = format!("{}/orders", self.order_url);
        self.http.post(url).json(order).send().await.expect("the order service answers")
    }

    pub async fn place(&self, order: &Value) -> Uuid {
        let answer = self.post(order).await;
        let status = answer.status();
        let body: Value = answer.json().await.expect("the answer is JSON");
        assert_eq!(status, StatusCode::CREATED, "{body}");
        let id = body["order_id"].as_str().and_then(|id| id.parse().ok()).expect("an order id");
        self.placed.lock().expect("nobody panics with it").push(id);
        id
    }

    pub async fn get(&self, order: Uuid) -> Order {
        let url = format!("{}/orders/{order}", self.order_url);
        let answer = self.http.get(url).send().await.expect("the order service answers");
        answer.json().await.expect("the answer is JSON")
    }

    pub async fn cancel(&self, order: Uuid) -> StatusCode {
        let url = format!("{}/orders/{order}/cancel", self.order_url);
        self.http.post(url).send().await.expect("the order service answers").status()
    }

    pub async fn reaches(&self, order: Uuid, status: &str) -> Order {
        until(|| async {
            let now = self.get(order).await;
            if now["status"] == status { Ok(now) } else { Err(format!("no {status}: {now}")) }
        })
        .await
    }

    pub async fn ends(&self, order: Uuid) -> Order {
        until(|| async {
            let now = self.get(order).await;
            match now["status"].as_str() {
                Some("CONFIRMED" | "PAYMENT_FAILED" | "CANCELLED") => Ok(now),
                _ => Err(format!("not final: {now}")),
            }
        })
        .await
    }

    /// These orders, as a customer sees them.
    pub async fn views(&self, orders: &[Uuid]) -> Vec<Order> {
        join_all(orders.iter().map(|id| self.get(*id))).await
    }

    /// Every order that was answered 201.
    pub fn placed(&self) -> Vec<Uuid> {
        self.placed.lock().expect("nobody panics with it").clone()
    }
}
