//! A client that repeats each request until it gets an answer.

use crate::{Fleet, until};
use messaging::{Env, SystemEnv};
use reqwest::StatusCode;
use serde_json::Value;
use uuid::Uuid;

impl Fleet {
    /// Places an order once, by one key, whatever happens to the order service meanwhile.
    pub async fn place_surely(&self, order: &Value) -> Uuid {
        let key = SystemEnv.new_id().to_string();
        let id = until(|| async {
            let url = format!("{}/orders", self.order_url);
            let asked = self.http.post(url).header("idempotency-key", &key).json(order);
            let answer = asked.send().await.map_err(|why| why.to_string())?;
            let status = answer.status();
            let body: Value = answer.json().await.map_err(|why| why.to_string())?;
            let id = body["order_id"].as_str().and_then(|id| id.parse().ok());
            id.filter(|_| status == StatusCode::CREATED).ok_or_else(|| body.to_string())
        })
        .await;
        self.placed.lock().expect("nobody panics with it").push(id);
        id
    }

    /// Cancels the order, unless it is too late.
    pub async fn cancel_surely(&self, order: Uuid) {
        let url = format!("{}/orders/{order}/cancel", self.order_url);
        until(|| async {
            let answer = self.http.post(&url).send().await.map_err(|why| why.to_string())?;
            match answer.status() {
                StatusCode::ACCEPTED | StatusCode::CONFLICT => Ok(()),
                other => Err(other.to_string()),
            }
        })
        .await;
    }
}
