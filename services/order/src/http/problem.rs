//! Builds the problems that only orders have; those of any route are in `service::http`.

use crate::{acts::REASON_MAX, keys::Role, order::Status};
use axum::http::StatusCode;
use service::http::{Errors, Problem};
use std::{borrow::Cow, fmt::Display};

/// Of an Idempotency-Key, in bytes.
pub const KEY_MAX: usize = 255;
/// Of a refused value that the refusal repeats, in characters.
const QUOTED_MAX: usize = 64;

/// A value as a refusal repeats it. What is cut off is not valid.
pub fn cut(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(QUOTED_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    }
}

pub fn bad_key() -> Problem {
    let detail =
        format!("Idempotency-Key must be one value of 1 to {KEY_MAX} printable ASCII characters");
    Problem::malformed(detail, Errors::new())
}

/// Of an operator who cancels.
pub fn long_reason() -> Problem {
    let long = format!("must have at most {REASON_MAX} characters");
    bad_parameters(Errors::from([("reason".into(), vec![long])]))
}

/// Of the query.
pub fn bad_parameters(errors: Errors) -> Problem {
    Problem::malformed("parameter validation failed; see errors", errors)
}

/// Well-formed, but not valid.
pub fn impossible(errors: Errors) -> Problem {
    let (status, title) = (StatusCode::UNPROCESSABLE_ENTITY, "Validation failed");
    let detail = "validation failed; see errors";
    Problem::new(status, "impossible-order", title, detail).with_errors(errors)
}

pub fn no_key() -> Problem {
    let detail = "send an API key, or a token where those are accepted: Authorization: Bearer qk_…; `saga keys create` makes a key";
    Problem::new(StatusCode::UNAUTHORIZED, "key-missing", "An API key is required", detail)
}

/// Of another form, or unknown, or revoked.
pub fn unknown_key() -> Problem {
    let detail = "the API key is not valid; it may have been revoked";
    Problem::new(StatusCode::UNAUTHORIZED, "key-invalid", "The API key is not valid", detail)
}

/// Of another scheme, or more than one.
pub fn no_bearer() -> Problem {
    let detail = "Authorization must be `Bearer qk_…`, or `Bearer` and a token, once";
    Problem::new(StatusCode::UNAUTHORIZED, "key-invalid", "The API key is not valid", detail)
}

/// Why, in a sentence about it.
pub fn invalid_token(why: &str) -> Problem {
    let detail = format!("the token is not valid: {why}");
    Problem::new(StatusCode::UNAUTHORIZED, "token-invalid", "The token is not valid", detail)
}

pub fn issuer_away() -> Problem {
    let detail = "the token's key is not known, and its issuer cannot be asked; retry in a moment";
    Problem::unavailable("issuer-away", "Issuer unavailable", detail)
}

pub fn no_role() -> Problem {
    let detail = "the token is valid and names no role; OIDC_ROLE_CLAIM and OIDC_ROLES say which";
    Problem::new(StatusCode::FORBIDDEN, "role-missing", "Forbidden", detail)
}

pub fn role_may_not(role: Role, may: impl Fn(Role) -> bool) -> Problem {
    let may: Vec<_> = Role::ALL.into_iter().filter(|role| may(*role)).map(Role::name).collect();
    let (role, may) = (role.name(), may.join(" or "));
    let detail = format!("the role {role} does not allow this; it takes the role {may}");
    Problem::new(StatusCode::FORBIDDEN, "role-insufficient", "Forbidden", detail)
}

pub fn no_such_order(which: impl Display) -> Problem {
    let detail = format!("there is no order {which}");
    Problem::new(StatusCode::NOT_FOUND, "no-such-order", "No such order", detail)
}

/// Text in the place of an id.
pub fn no_order_id(text: &str) -> Problem {
    let text = cut(text);
    let detail =
        format!("{text:?} is no order id: an order id is a UUID, as Location and order_id have it");
    Problem::new(StatusCode::NOT_FOUND, "no-such-order", "No such order", detail)
}

pub fn too_late(status: Status) -> Problem {
    let detail = match status {
        Status::Cancelled => "the order is already cancelled; nothing is left to do".into(),
        _ => format!("the order has the final status {status}"),
    };
    let title = "It is too late to cancel";
    Problem::new(StatusCode::CONFLICT, "too-late-to-cancel", title, detail)
}

pub fn key_busy() -> Problem {
    let title = "The first request is still in progress";
    let detail = "a request with this Idempotency-Key is in progress; retry in a moment";
    Problem::new(StatusCode::CONFLICT, "idempotency-key-in-progress", title, detail).retry_after(1)
}

pub fn key_reused() -> Problem {
    let (status, title) = (StatusCode::UNPROCESSABLE_ENTITY, "Idempotency-Key reused");
    let detail = "this Idempotency-Key belongs to another order; use a new key for another order";
    Problem::new(status, "idempotency-key-reused", title, detail)
}

pub fn not_placed() -> Problem {
    let detail = "the database refuses this order for now, for instance since its \
        Idempotency-Key is locked; nothing is written, and a retry is safe";
    Problem::unavailable("not-placed", "The order was not placed", detail)
}

/// As long as an order is not begun to be written.
pub fn not_stored() -> Problem {
    Problem::away("the database is unavailable; nothing is stored, and a retry is safe")
}

pub fn outcome_unknown(order: impl Display) -> Problem {
    let detail = format!(
        "the database became unavailable while order {order} was written; GET /orders/{order} \
         shows whether it exists, and with an Idempotency-Key a retry is safe"
    );
    let title = "Unknown outcome: the order may have been placed";
    Problem::unavailable("outcome-unknown", title, detail)
}
