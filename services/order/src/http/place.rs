//! Serves `POST /orders`: answers once the order is committed, independently of the broker.

use super::{access::Caller, app::App, draft, problem};
use crate::keys::Role;
use crate::placing::{Answered, Refusal, Request as Asked};
use axum::{
    body::Bytes,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
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
    media_type(&headers)?;
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

fn media_type(headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    if headers.get(header::CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
        return Err(Problem::wrong_media_type("send the body without Content-Encoding"));
    }
    let media_type = text(header::CONTENT_TYPE).unwrap_or_default().to_ascii_lowercase();
    let mut parts = media_type.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default();
    let suffixed = essence.starts_with("application/") && essence.ends_with("+json");
    if essence != "application/json" && !suffixed {
        return Err(Problem::wrong_media_type("the body must be application/json"));
    }
    let mut charsets = parts.filter_map(|part| part.strip_prefix("charset="));
    if charsets.all(|charset| matches!(charset.trim_matches('"'), "utf-8" | "utf8")) {
        return Ok(());
    }
    Err(Problem::wrong_media_type("the body must be application/json in UTF-8"))
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
