//! Lets in who sends a bearer token that it knows, or a signature by a key that it knows; while it
//! knows none, everybody.

use crate::{behaviour::Behaviour, http::Provider};
use axum::{
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header::AUTHORIZATION, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::time::{SystemTime, UNIX_EPOCH};

const BODY_MAX: usize = 64 * 1024;
/// How far the client's clock may be from this one.
const APART_MAX_S: u64 = 300;

pub async fn guard(State(provider): State<Provider>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, BODY_MAX).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    if provider.behaviour().lets_in(&parts, &body) {
        return next.run(Request::from_parts(parts, Body::from(body))).await;
    }
    provider.refused();
    StatusCode::UNAUTHORIZED.into_response()
}

impl Behaviour {
    fn lets_in(&self, parts: &Parts, body: &[u8]) -> bool {
        let of = |name: &str| parts.headers.get(name)?.to_str().ok();
        let token = of(AUTHORIZATION.as_str()).and_then(|it| it.strip_prefix("Bearer "));
        let is_token = token.is_some_and(|token| self.tokens.iter().any(|known| known == token));
        let signature = of("payment-signature");
        self.tokens.is_empty() && self.hmac_keys.is_empty()
            || is_token
            || signature.is_some_and(|it| self.has_signed(it, parts, body) == Some(true))
    }

    fn has_signed(&self, signature: &str, parts: &Parts, body: &[u8]) -> Option<bool> {
        let mut fields = signature.split(',');
        let time = fields.next()?.strip_prefix("t=")?;
        let id = fields.next()?.strip_prefix("key=")?;
        let said = fields.next()?.strip_prefix("hmac-sha256=")?;
        let (_, key) =
            self.hmac_keys.iter().filter_map(|key| key.split_once(':')).find(|key| key.0 == id)?;
        let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).ok()?;
        let idempotency_key = parts.headers.get("idempotency-key").map(HeaderValue::as_bytes);
        for line in [
            parts.method.as_str().as_bytes(),
            parts.uri.path().as_bytes(),
            idempotency_key.unwrap_or_default(),
            time.as_bytes(),
        ] {
            mac.update(line);
            mac.update(b"\n");
        }
        mac.update(body);
        let is_near = now().abs_diff(time.parse().ok()?) <= APART_MAX_S;
        Some(is_near && mac.verify_slice(&bytes(said)?).is_ok())
    }
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let pairs = (0..hex.len()).step_by(2);
    pairs.map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()).collect()
}

#[expect(clippy::disallowed_methods, reason = "a provider has a clock of its own")]
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
