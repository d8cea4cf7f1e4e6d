//! Serves HTTP, with the parts that the routes of any service need: limits, problems, streams,
//! metrics.

mod access_log;
mod client;
mod feed;
pub mod health;
mod hosts;
mod limits;
mod memory;
pub mod metrics;
mod origins;
pub mod pages;
mod problem;
mod rate;
mod request_id;
mod server;
mod settings;
pub mod sse;
mod streams;
mod trace;

use axum::{Router, middleware};
use std::sync::Arc;

pub use client::{Account, Client};
pub use feed::{Feed, Listener, write_event};
pub use hosts::{is_local, is_local_name};
pub use limits::{Limits, in_time, survive_panics};
pub use problem::{Errors, Problem};
pub use server::{Encrypted, Listen, Server};
pub use settings::HttpSettings;
pub use streams::OpenStream;
pub use trace::traceparent;

/// Of a request's body, in bytes.
const BODY_MAX: usize = 64 * 1024;

/// Limits for routes that need the database: requests at work, bytes in memory, and the rate per
/// client.
pub fn limited<S>(routes: Router<S>, limits: Arc<Limits>) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    routes
        .layer(middleware::from_fn_with_state(limits.clone(), limits::in_flight))
        // Before that: a client that sends slowly takes no slot.
        .layer(middleware::from_fn_with_state(limits.clone(), limits::memory))
        .layer(middleware::from_fn_with_state(limits, limits::per_client))
}

/// For all routes of a service: metrics, an id and a log line for each request, allowed host names
/// and origins only, and every failure as a problem.
pub fn guarded<S>(routes: Router<S>, limits: Arc<Limits>) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    routes
        .fallback(|| async { Problem::no_such_page() })
        .method_not_allowed_fallback(|| async { Problem::wrong_method() })
        .layer(middleware::from_fn(survive_panics))
        .layer(middleware::from_fn_with_state(limits.clone(), origins::origins))
        .layer(middleware::from_fn_with_state(limits.clone(), limits::own_hosts))
        .layer(middleware::from_fn(pages::harden))
        .layer(middleware::from_fn_with_state(limits.clone(), access_log::log))
        .layer(middleware::from_fn(request_id::identify))
        .layer(middleware::from_fn_with_state(limits, limits::client))
        .layer(middleware::from_fn(metrics::requests))
}
