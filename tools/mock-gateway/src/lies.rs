//! Replaces answers to hide what was done, as a proxy or a bug would.

use axum::{
    Json,
    body::{Body, Bytes},
    http::{StatusCode, header},
    response::{Html, IntoResponse, Response},
};
use clap::ValueEnum;
use futures::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{convert::Infallible, time::Duration};
use tokio::time::sleep;

/// The request is done as ever (but for `pending`); only its answer is this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Lie {
    /// 201, and the true body
    Created,
    /// 202, and a body that decides nothing
    Accepted,
    /// 204
    NoContent,
    /// 503, and the HTML of a proxy
    #[serde(rename = "proxy_503")]
    #[value(name = "proxy_503")]
    Proxy503,
    /// 307 to where there is nothing
    Redirect,
    /// 200, and 64 MiB of blanks before the true body
    Huge,
    /// 200, and bytes that are no text
    Binary,
    /// The true answer, its texts with NUL, control characters and 10,000 letters more
    Nul,
    /// 200, and no body
    Empty,
    /// The true answer, half a second a byte
    Trickle,
    /// 202 `{"status": "pending"}`: a new charge is decided `pending_ms` later, and look-ups say
    /// `pending` until then; a void still prevents it
    Pending,
}

pub type Answer = (StatusCode, Json<Value>);

impl Lie {
    /// All of them, as `PUT /behaviour` takes them.
    pub fn names() -> Vec<String> {
        let values = Self::value_variants().iter().filter_map(Self::to_possible_value);
        values.map(|value| value.get_name().to_owned()).collect()
    }

    pub fn tell(self, (status, Json(body)): Answer) -> Response {
        let whole = || Bytes::from(body.to_string());
        match self {
            Self::Created => (StatusCode::CREATED, Json(body)).into_response(),
            Self::Accepted => {
                (StatusCode::ACCEPTED, Json(json!({"accepted": true}))).into_response()
            }
            Self::NoContent => StatusCode::NO_CONTENT.into_response(),
            Self::Proxy503 => {
                let page = "<html><h1>503 Service Unavailable</h1>upstream connect error</html>";
                (StatusCode::SERVICE_UNAVAILABLE, Html(page)).into_response()
            }
            Self::Redirect => {
                (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, "/elsewhere")]).into_response()
            }
            Self::Huge => {
                const BLANKS: &[u8] = &[b' '; 64 * 1024];
                let blanks = stream::repeat(Bytes::from_static(BLANKS)).take(1024);
                streamed(blanks.chain(stream::iter([whole()])))
            }
            Self::Binary => (0..=u8::MAX).rev().collect::<Vec<_>>().into_response(),
            Self::Nul => (status, Json(spoilt(body))).into_response(),
            Self::Empty => StatusCode::OK.into_response(),
            Self::Trickle => {
                let bytes = whole();
                let bytes = (0..bytes.len()).map(move |at| bytes.slice(at..=at));
                streamed(stream::iter(bytes).then(async |byte| {
                    sleep(Duration::from_millis(500)).await;
                    byte
                }))
            }
            Self::Pending => pending().into_response(),
        }
    }
}

pub fn pending() -> Answer {
    (StatusCode::ACCEPTED, Json(json!({"status": "pending"})))
}

fn streamed(parts: impl stream::Stream<Item = Bytes> + Send + 'static) -> Response {
    Body::from_stream(parts.map(Ok::<_, Infallible>)).into_response()
}

fn spoilt(mut body: Value) -> Value {
    for name in ["reference", "reason"] {
        if let Some(text) = body[name].as_str() {
            let more = "x".repeat(10_000);
            body[name] = format!("{text}\u{0}\u{1b}[31m\u{202e}\r\n{more}").into();
        }
    }
    body
}
