//! Makes the problems that only an order can have; those of any route are in `service::http`.

use axum::http::StatusCode;
use service::http::{Errors, Problem};
use std::fmt::Display;

/// Of an Idempotency-Key, in bytes.
pub const KEY_MAX: usize = 255;

pub fn bad_key() -> Problem {
    let detail =
        format!("Idempotency-Key must be one value of 1 to {KEY_MAX} visible ASCII characters");
    Problem::malformed(detail, Errors::new())
}

/// It can be read, and cannot be.
pub fn impossible(errors: Errors) -> Problem {
    let (status, title) = (StatusCode::UNPROCESSABLE_ENTITY, "The order is not possible");
    let detail = "some values cannot be; see errors";
    Problem::new(status, "impossible-order", title, detail).with_errors(errors)
}

pub fn no_such_order(which: impl Display) -> Problem {
    let detail = format!("there is no order {which}");
    Problem::new(StatusCode::NOT_FOUND, "no-such-order", "No such order", detail)
}

pub fn too_late(status: impl Display) -> Problem {
    let detail = format!("the order is {status}, which is final");
    let title = "It is too late to cancel";
    Problem::new(StatusCode::CONFLICT, "too-late-to-cancel", title, detail)
}

pub fn key_busy() -> Problem {
    let title = "The first request is still in progress";
    let detail = "a request with this Idempotency-Key is at work; ask again in a moment";
    Problem::new(StatusCode::CONFLICT, "idempotency-key-in-progress", title, detail).retry_after(1)
}

pub fn key_reused() -> Problem {
    let (status, title) = (StatusCode::UNPROCESSABLE_ENTITY, "The key was used before");
    let detail = "this Idempotency-Key belongs to another order";
    Problem::new(status, "idempotency-key-reused", title, detail)
}

pub fn outcome_unknown(order: impl Display) -> Problem {
    let detail = format!(
        "the database went away while order {order} was written; GET /orders/{order} tells \
         whether it was, and with an Idempotency-Key it is safe to try again"
    );
    let title = "It is not known whether the order was placed";
    Problem::unavailable("outcome-unknown", title, detail)
}
