//! Answers errors as problems (RFC 9457), for programs and for people.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use database::Failure;
use serde::Serialize;
use std::{collections::BTreeMap, sync::Arc};

/// The prefix of each problem's kind.
const KINDS: &str = "urn:problem-type:quadrille:";

/// What is wrong with each field.
pub type Errors = BTreeMap<String, Vec<String>>;

#[derive(Debug, Serialize)]
pub struct Problem {
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    #[serde(serialize_with = "code")]
    status: StatusCode,
    detail: String,
    #[serde(skip_serializing_if = "Errors::is_empty")]
    errors: Errors,
    #[serde(skip)]
    retry_after_s: Option<u32>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn code<S: serde::Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}

impl Problem {
    pub fn new(
        status: StatusCode,
        name: &str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        let kind = format!("{KINDS}{name}");
        let (detail, errors) = (detail.into(), Errors::new());
        Self { kind, title, status, detail, errors, retry_after_s: None }
    }

    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// As its answer's body has it.
    pub fn text(&self) -> String {
        serde_json::to_string(self).expect("a problem is plain data")
    }

    /// The same, with the request that it is about.
    pub(super) fn text_for(&self, request_id: &str) -> String {
        #[derive(Serialize)]
        struct Of<'a> {
            #[serde(flatten)]
            problem: &'a Problem,
            request_id: &'a str,
        }
        serde_json::to_string(&Of { problem: self, request_id }).expect("a problem is plain data")
    }

    pub const fn title(&self) -> &'static str {
        self.title
    }

    /// Its kind in one word.
    pub fn name(&self) -> &str {
        self.kind.trim_start_matches(KINDS)
    }

    pub const fn retry_after_s(&self) -> Option<u32> {
        self.retry_after_s
    }

    #[must_use]
    pub fn retry_after(self, seconds: u32) -> Self {
        Self { retry_after_s: Some(seconds), ..self }
    }

    #[must_use]
    pub fn with_errors(self, errors: Errors) -> Self {
        Self { errors, ..self }
    }

    /// Unreadable: not JSON, or JSON of another shape.
    pub fn malformed(detail: impl Into<String>, errors: Errors) -> Self {
        let title = "The request cannot be read";
        Self::new(StatusCode::BAD_REQUEST, "malformed-request", title, detail).with_errors(errors)
    }

    pub fn no_json(why: &serde_json::Error) -> Self {
        Self::malformed(format!("the body is not valid JSON: {why}"), Errors::new())
    }

    pub fn broken_off() -> Self {
        Self::malformed(
            "the body is incomplete; send as many bytes as Content-Length declares",
            Errors::new(),
        )
    }

    pub(super) fn no_host() -> Self {
        let detail = "the header Host must name this service, once";
        Self::malformed(detail, Errors::new())
    }

    pub(super) fn plain_http() -> Self {
        Self::malformed("this port speaks HTTPS: write https:// in the address", Errors::new())
    }

    pub fn wrong_media_type(detail: &str) -> Self {
        let title = "The media type is not supported";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "wrong-media-type", title, detail)
    }

    pub fn too_large() -> Self {
        let detail = format!("the body may have {} KiB at most", super::BODY_MAX / 1024);
        let title = "The body is too large";
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", title, detail)
    }

    pub fn too_slow() -> Self {
        let within = super::memory::BODY_WITHIN.as_secs();
        Self::slow(format!("the body did not arrive within {within} s"))
    }

    pub(super) fn gave_way() -> Self {
        Self::slow("memory ran short while the body was still arriving; send it again")
    }

    fn slow(detail: impl Into<String>) -> Self {
        let title = "The request took too long to arrive";
        Self::new(StatusCode::REQUEST_TIMEOUT, "request-too-slow", title, detail)
    }

    pub fn no_such_page() -> Self {
        let detail =
            "no resource at this path; GET /docs lists the paths, of which none ends with a slash";
        Self::new(StatusCode::NOT_FOUND, "no-such-page", "Not found", detail)
    }

    pub fn not_our_host() -> Self {
        let title = "Unknown host";
        let detail =
            "the header Host has an unknown name; if it is correct, add it to ALLOWED_HOSTS";
        Self::new(StatusCode::MISDIRECTED_REQUEST, "not-our-host", title, detail)
    }

    pub fn foreign_origin() -> Self {
        let (status, title) = (StatusCode::FORBIDDEN, "Foreign origin");
        let detail = "a page of another origin may change nothing; if it may, add its origin to \
             HTTP_CORS_ORIGINS";
        Self::new(status, "foreign-origin", title, detail)
    }

    pub fn wrong_method() -> Self {
        let (status, title) = (StatusCode::METHOD_NOT_ALLOWED, "Method not allowed");
        let detail = "the header Allow lists the methods of this path";
        Self::new(status, "wrong-method", title, detail)
    }

    pub fn too_many_requests(seconds: u32) -> Self {
        let (status, title) = (StatusCode::TOO_MANY_REQUESTS, "Too many requests");
        let detail = format!("rate limit exceeded; retry in {seconds} s");
        Self::new(status, "too-many-requests", title, detail).retry_after(seconds)
    }

    pub fn too_many_streams(max: usize) -> Self {
        let (status, title) = (StatusCode::TOO_MANY_REQUESTS, "Too many streams");
        let detail = format!("this client has {max} event streams open; close one of them first");
        Self::new(status, "too-many-streams", title, detail).retry_after(1)
    }

    pub fn overloaded() -> Self {
        let detail = "too many requests in flight; retry in a moment";
        Self::unavailable("overloaded", "Overloaded", detail)
    }

    pub fn database_away() -> Self {
        Self::away("the database is unavailable; retry in a moment")
    }

    /// The same, where more can be said.
    pub fn away(detail: &str) -> Self {
        Self::unavailable("database-away", "Database unavailable", detail)
    }

    pub fn database_busy() -> Self {
        let detail = "the database refuses this for now, for instance since a row is locked; \
             nothing is changed; retry in a moment";
        Self::unavailable("database-busy", "The database refuses this for now", detail)
    }

    pub fn not_ready(detail: impl Into<String>) -> Self {
        Self::unavailable("not-ready", "Not ready", detail)
    }

    pub fn unavailable(name: &str, title: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, name, title, detail).retry_after(1)
    }

    pub fn internal() -> Self {
        let (status, title) = (StatusCode::INTERNAL_SERVER_ERROR, "Internal error");
        Self::new(
            status,
            "internal-error",
            title,
            "internal error; the service's log has it under this request_id",
        )
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Transient(why) => {
                tracing::warn!("database unavailable: {why:#}");
                Self::database_away()
            }
            Failure::Refused(why) => {
                tracing::warn!("the database refuses a request for now: {why:#}");
                Self::database_busy()
            }
            Failure::Permanent(why) => {
                tracing::error!("request failed: {why:#}");
                Self::internal()
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = self.text();
        let media_type = (header::CONTENT_TYPE, "application/problem+json");
        let mut response = (self.status, [media_type], body).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Bearer realm=\"orders\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_that_answers_and_refuses_is_not_called_unavailable() {
        let answer = |failure: fn(anyhow::Error) -> Failure| {
            let problem = Problem::from(failure(anyhow::anyhow!("a lock timeout")));
            assert_eq!(problem.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert!(!problem.text().contains("Idempotency-Key"), "{}", problem.text());
            (problem.name().to_owned(), problem.retry_after_s())
        };
        assert_eq!(answer(Failure::Refused), ("database-busy".into(), Some(1)));
        assert_eq!(answer(Failure::Transient), ("database-away".into(), Some(1)));
    }
}
