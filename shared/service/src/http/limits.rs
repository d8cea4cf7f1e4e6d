//! Protects the service from overload and from its own panics: the layers of its routes.

use super::{
    client::{Client, Proxies},
    hosts::Hosts,
    memory::Memory,
    origins::Origins,
    problem::Problem,
    rate::Rate,
    settings::HttpSettings,
    streams::{OpenStream, Streams},
};
use axum::{
    body::Body,
    extract::{FromRef, FromRequestParts, Request, State},
    http::{Method, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures::FutureExt;
use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};
use tokio::sync::Semaphore;

/// A client without an answer for so long gets an error that asks it to retry.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

pub struct Limits {
    in_flight: Semaphore,
    rate: Option<Rate>,
    hosts: Hosts,
    pub(super) origins: Origins,
    pub(super) logs_access: bool,
    proxies: Proxies,
    streams: Streams,
    memory: Memory,
}

impl Limits {
    pub fn new(settings: &HttpSettings) -> Self {
        let &HttpSettings { in_flight_max, streams_max, streams_per_client, .. } = settings;
        Self {
            in_flight: Semaphore::new(in_flight_max as usize),
            rate: (settings.rate_limit > 0).then(|| Rate::new(settings.rate_limit)),
            hosts: settings.allowed_hosts.clone(),
            origins: settings.cors_origins.clone(),
            logs_access: settings.access_log,
            proxies: settings.trusted_proxies.clone(),
            streams: Streams::new(streams_max as usize, streams_per_client as usize),
            memory: Memory::new(settings.request_bytes(), settings.answer_bytes()),
        }
    }

    /// Counts a request against its client's rate.
    pub fn admit(&self, client: Option<&Client>) -> Result<(), Problem> {
        match (&self.rate, client) {
            (Some(rate), Some(client)) => {
                rate.admit(client.account()).map_err(Problem::too_many_requests)
            }
            _ => Ok(()),
        }
    }
}

pub async fn in_flight(
    State(limits): State<Arc<Limits>>,
    request: Request,
    next: Next,
) -> Response {
    let Ok(_permit) = limits.in_flight.try_acquire() else {
        return Problem::overloaded().into_response();
    };
    next.run(request).await
}

/// Not for placing an order, which has its own deadline.
pub async fn in_time(request: Request, next: Next) -> Response {
    let answered = tokio::time::timeout(ANSWER_WITHIN, next.run(request)).await;
    answered.unwrap_or_else(|_| Problem::database_away().into_response())
}

pub async fn memory(State(limits): State<Arc<Limits>>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let (body, held) = match limits.memory.receive(body).await {
        Ok(received) => received,
        Err(problem) => return problem.into_response(),
    };
    let held = held.filter(|_| parts.method == Method::POST);
    let answer = next.run(Request::from_parts(parts, Body::from(body))).await;
    limits.memory.weigh(answer, held).await.unwrap_or_else(IntoResponse::into_response)
}

pub async fn per_client(
    State(limits): State<Arc<Limits>>,
    request: Request,
    next: Next,
) -> Response {
    match limits.admit(request.extensions().get::<Client>()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

pub async fn client(
    State(limits): State<Arc<Limits>>,
    mut request: Request,
    next: Next,
) -> Response {
    limits.proxies.note_client(&mut request);
    next.run(request).await
}

pub async fn own_hosts(
    State(limits): State<Arc<Limits>>,
    request: Request,
    next: Next,
) -> Response {
    match limits.hosts.check(&request) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

pub async fn survive_panics(request: Request, next: Next) -> Response {
    let what = format!("{} {}", request.method(), request.uri().path());
    let answered = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    answered.unwrap_or_else(|_| {
        tracing::error!("{what}: the handler panicked");
        Problem::internal().into_response()
    })
}

impl<S: Sync> FromRequestParts<S> for OpenStream
where
    Arc<Limits>: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let client = parts.extensions.get::<Client>().map(Client::account);
        Arc::<Limits>::from_ref(state).streams.open(client)
    }
}
