//! Gives each request an id, which its answer, its problem, its log lines and its spans have.

use super::problem::Problem;
use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderValue},
    middleware::Next,
    response::Response,
};
use messaging::{Env, SystemEnv};
use std::sync::Arc;
use telemetry::for_request;
use tracing::Instrument;

const X_REQUEST_ID: &str = "x-request-id";
const LENGTH_MAX: usize = 128;

/// In the extensions of a request.
#[derive(Clone, Debug)]
pub struct RequestId(pub Arc<str>);

pub async fn identify(mut request: Request, next: Next) -> Response {
    let id = given(request.headers()).unwrap_or_else(|| SystemEnv.new_id().to_string());
    let id: Arc<str> = id.into();
    request.extensions_mut().insert(RequestId(id.clone()));
    let span = tracing::info_span!("request", request_id = &*id);
    let answering = for_request(Some(id.clone()), next.run(request));
    let mut answer = answering.instrument(span).await;
    if let Some(problem) = answer.extensions_mut().remove::<Arc<Problem>>() {
        *answer.body_mut() = Body::from(problem.text_for(&id));
    }
    if let Ok(id) = HeaderValue::from_str(&id) {
        answer.headers_mut().insert(X_REQUEST_ID, id);
    }
    answer
}

/// The client's own, if it can stand in any log.
fn given(headers: &HeaderMap) -> Option<String> {
    let mut all = headers.get_all(X_REQUEST_ID).iter();
    let (Some(id), None) = (all.next(), all.next()) else { return None };
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=@".contains(byte);
    let is_sane = (1..=LENGTH_MAX).contains(&id.len()) && id.as_bytes().iter().all(is_plain);
    is_sane.then(|| id.to_str().ok().map(str::to_owned)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(ids: &[&'static str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for id in ids {
            headers.append(X_REQUEST_ID, HeaderValue::from_static(id));
        }
        given(&headers)
    }

    #[test]
    fn only_an_id_that_is_plain_and_short_is_taken() {
        for sane in ["a", "0190b5e4-0000-7000-8000-000000000001", "Root=1-67891233:abc/d+e_f.g@h"] {
            assert_eq!(of(&[sane]).as_deref(), Some(sane));
        }
        let long: &str = Box::leak("x".repeat(LENGTH_MAX + 1).into_boxed_str());
        for insane in ["", "a b", "a\"b", "a\tb", "a,b", "{a}", long] {
            assert_eq!(of(&[insane]), None, "{insane}");
        }
        assert_eq!((of(&[]), of(&["a", "b"])), (None, None));
    }
}
