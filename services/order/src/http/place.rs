//! `POST /orders`: answered once the order is in the database, whatever the broker does.

use super::{App, draft, problem::Problem, trace::traceparent};
use crate::placing::{Answered, Refusal, Request as Asked};
use axum::{
    body::Bytes,
    extract::{FromRequest, Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use std::{collections::BTreeMap, time::Duration};

const BODY_WITHIN: Duration = Duration::from_secs(10);
pub const KEY_MAX: usize = 255;

pub async fn place(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let key = idempotency_key(request.headers())?;
    let trace = traceparent(request.headers());
    let draft = draft::read(&json_body(request).await?)?;
    Ok(created(app.placing.place(Asked { draft, key, trace }).await?))
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Full => Self::overloaded(),
            Refusal::Away => Self::database_away(),
            Refusal::KeyBusy => Self::key_busy(),
            Refusal::KeyReused => Self::key_reused(),
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

/// The body, where it says of itself that it is JSON and comes whole and in time.
async fn json_body(request: Request) -> Result<Bytes, Problem> {
    if !is_json(request.headers()) {
        return Err(Problem::wrong_media_type());
    }
    match tokio::time::timeout(BODY_WITHIN, Bytes::from_request(request, &())).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(refused)) if refused.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            Err(Problem::too_large())
        }
        Ok(Err(refused)) => Err(Problem::malformed(refused.body_text(), BTreeMap::new())),
        Err(_) => Err(Problem::too_slow()),
    }
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
    let fits = |key: &&str| (1..=KEY_MAX).contains(&key.len());
    match value.to_str().ok().filter(fits) {
        Some(key) if values.next().is_none() => Ok(Some(key.into())),
        _ => Err(Problem::bad_key()),
    }
}
