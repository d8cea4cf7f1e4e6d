//! Serves `POST /orders/{id}/cancel`: 202 as long as the order can still be compensated.

use super::{
    app::{App, order_id},
    problem,
};
use crate::cancelling::{self, Outcome};
use axum::{
    Json,
    extract::{Path, State, rejection::PathRejection},
    http::{HeaderMap, StatusCode},
};
use events::{CancelReason, OrderId};
use serde_json::{Value, json};
use service::http::{Problem, traceparent};

pub async fn cancel(
    State(app): State<App>,
    id: Result<Path<OrderId>, PathRejection>,
    headers: HeaderMap,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let id = order_id(id)?;
    let App { context, orders, .. } = app;
    let (reason, trace) = (CancelReason::Customer, traceparent(&headers));
    let cancelled = tokio::spawn(cancelling::cancel(context, orders, id, reason, trace)).await;
    match cancelled.map_err(|_| Problem::internal())?? {
        Outcome::Accepted(status) => {
            let body = json!({ "order_id": id, "status": status, "cancel": "accepted" });
            Ok((StatusCode::ACCEPTED, Json(body)))
        }
        Outcome::TooLate(status) => Err(problem::too_late(status)),
        Outcome::Unknown => Err(problem::no_such_order(id)),
    }
}
