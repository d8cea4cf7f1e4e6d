//! Serves `POST /orders`: answers once the order is committed, independently of the broker.

use super::{access::Caller, app::App, draft, problem};
use crate::keys::Role;
use crate::placing::{Answered, Refusal, Request as Asked};
use axum::{
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use service::http::{Problem, traceparent};

/// The body has come whole and in time.
pub async fn place(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    caller.must(Role::places)?;
    let key = idempotency_key(&headers)?;
    if !is_json(&headers) {
        return Err(Problem::wrong_media_type());
    }
    let (draft, trace) = (draft::read(&body)?, traceparent(&headers));
    let request = Asked { draft, key, client: caller.client(), trace };
    Ok(created(app.placing.place(request).await?))
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Full => Self::overloaded(),
            Refusal::Away => problem::not_stored(),
            Refusal::Unknown(order) => problem::outcome_unknown(order),
            Refusal::NotNow => problem::not_placed(),
            Refusal::KeyBusy => problem::key_busy(),
            Refusal::KeyReused => problem::key_reused(),
            Refusal::Broken => Self::internal(),
        }
    }
}

fn created(Answered { order_id, body }: Answered) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/json".to_owned()),
        (header::LOCATION, format!("/orders/{order_id}")),
    ];
    (StatusCode::CREATED, headers, body).into_response()
}

fn is_json(headers: &HeaderMap) -> bool {
    let named = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = named.and_then(|text| text.split(';').next()).unwrap_or_default().trim();
    let essence = essence.to_ascii_lowercase();
    let suffixed = essence.starts_with("application/") && essence.ends_with("+json");
    essence == "application/json" || suffixed
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let fits = |key: &&str| (1..=problem::KEY_MAX).contains(&key.len());
    match value.to_str().ok().filter(fits) {
        Some(key) if values.next().is_none() => Ok(Some(key.into())),
        _ => Err(problem::bad_key()),
    }
}
