//! Answers the probes `/healthz` (liveness) and `/readyz` (readiness).

use super::problem::Problem;
use crate::Health;
use axum::{Json, extract::State};
use serde_json::{Value, json};
use std::sync::Arc;

pub async fn alive() -> Json<Value> {
    Json(json!({ "status": "alive" }))
}

pub async fn ready(State(health): State<Arc<Health>>) -> Result<Json<Value>, Problem> {
    if let Some(wrong) = health.clock() {
        return Err(Problem::not_ready(&wrong));
    }
    match (health.database(), health.consuming()) {
        (true, true) => match &health.waits()[..] {
            [] => Ok(Json(json!({ "status": "ready" }))),
            waits => Err(Problem::not_ready(waits.join("; "))),
        },
        (false, true) => Err(Problem::not_ready("the database is not reached")),
        (true, false) => Err(Problem::not_ready("broker not connected")),
        (false, false) => Err(Problem::not_ready("neither database nor broker is reached")),
    }
}
