//! Serves `POST /orders/{id}/cancel`: 202 as long as the order can still be compensated. An
//! operator's is recorded as an act.

use super::{
    access::Caller,
    app::{App, Id, parameters},
    problem,
};
use crate::{
    acts::{Actor, REASON_MAX},
    cancelling::Outcome,
    keys::Role,
};
use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
};
use database::Failure;
use events::{CancelReason, OrderId};
use serde_json::{Value, json};
use service::http::{Problem, traceparent};
use telemetry::{for_request, request_id};

pub async fn cancel(
    State(app): State<App>,
    caller: Caller,
    Id(id): Id,
    uri: Uri,
    headers: HeaderMap,
) -> Result<(StatusCode, Json<Value>), Problem> {
    caller.must(Role::places)?;
    // An order's client never changes.
    if let Some(client) = caller.scope()
        && !app.backend.is_of(id, client).await?
    {
        return Err(problem::no_such_order(id));
    }
    let [reason] = parameters(&uri, ["reason"])?;
    if reason.as_ref().is_some_and(|reason| reason.chars().count() > REASON_MAX) {
        return Err(problem::long_reason());
    }
    let operator = caller.identity().filter(|it| it.role.operates());
    let operator = operator.map(|identity| Actor::of(identity, "api", reason.as_deref()));
    let trace = traceparent(&headers);
    let cancelling = for_request(request_id(), by(app, operator, id, trace));
    let cancelled = tokio::spawn(cancelling).await;
    match cancelled.map_err(|_| Problem::internal())?? {
        Outcome::Accepted(status) => {
            let body = json!({ "order_id": id, "status": status, "cancel": "accepted" });
            Ok((StatusCode::ACCEPTED, Json(body)))
        }
        Outcome::TooLate(status) => Err(problem::too_late(status)),
        Outcome::Unknown => Err(problem::no_such_order(id)),
    }
}

/// Completes even if the client disconnects.
async fn by(
    app: App,
    operator: Option<Actor>,
    id: OrderId,
    trace: Option<String>,
) -> Result<Outcome, Failure> {
    let App { backend, context, .. } = app;
    let act = operator.map(|by| by.act(&*context.env, "order.cancel", id.to_string()).on(Some(id)));
    if act.is_some() {
        backend.begin_acts(act.as_slice()).await?;
    }
    let cancelled = backend.cancel(id, CancelReason::Customer, trace).await;
    if let Some(act) = act {
        let outcome = match &cancelled {
            Ok(Outcome::Accepted(_)) => "accepted",
            Ok(Outcome::TooLate(_)) => "too late",
            Ok(Outcome::Unknown) => "no such order",
            Err(_) => "failed",
        };
        // The order is cancelled all the same.
        if let Err(why) = backend.end_acts(&[(act.id, outcome)]).await {
            tracing::warn!(act = %act.id, "an act stays without its outcome, {outcome}: {why}");
        }
    }
    cancelled
}
