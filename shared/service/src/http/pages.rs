//! Serves pages and their files with a policy: no foreign content, and no frames in other pages.

use super::{hosts::is_local, server::Encrypted};
use axum::{
    extract::Request,
    http::{HeaderValue, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

/// No foreign content, nothing inline, no framing.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub async fn guard(request: Request, next: Next) -> Response {
    let mut answer = next.run(request).await;
    let headers = answer.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    answer
}

/// For what is no page.
const DATA_POLICY: &str = "default-src 'none'; frame-ancestors 'none'";
/// A year; not for names of this machine, whose other ports a browser would then ask by https too.
const HTTPS_ONLY: &str = "max-age=31536000";

/// For every answer: it is what its media type says, no page and in no frame, and nobody keeps it.
pub(super) async fn harden(request: Request, next: Next) -> Response {
    let is_encrypted = request.extensions().get::<Encrypted>().is_some();
    let https_only = is_encrypted && !is_local(request.headers());
    let mut answer = next.run(request).await;
    let headers = answer.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, DATA_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    if https_only {
        let value = HeaderValue::from_static(HTTPS_ONLY);
        headers.insert(header::STRICT_TRANSPORT_SECURITY, value);
    }
    answer
}

pub async fn file(kind: &str, text: &'static str) -> impl IntoResponse {
    let kind = HeaderValue::from_str(&format!("{kind}; charset=utf-8")).expect("it is plain");
    (
        [
            (header::CONTENT_TYPE, kind),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        ],
        text,
    )
}
