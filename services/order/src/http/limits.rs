//! What protects the service from too many requests, and from its own faults.

use super::problem::Problem;
use crate::Settings;
use axum::{
    extract::{ConnectInfo, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use chrono::{DateTime, TimeDelta, Utc};
use futures::FutureExt;
use messaging::World;
use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A client that hears nothing for so long is told to come back.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// Above this many clients those are forgotten that have been quiet.
const CLIENTS_MAX: usize = 10_000;

pub struct Limits {
    in_flight: Semaphore,
    streams: Arc<Semaphore>,
    clients: Option<Clients>,
}

impl Limits {
    pub fn new(settings: &Settings, world: Arc<dyn World>) -> Self {
        let limited = settings.rate_limit > 0;
        Self {
            in_flight: Semaphore::new(settings.in_flight_max as usize),
            streams: Arc::new(Semaphore::new(settings.streams_max as usize)),
            clients: limited.then(|| Clients::new(settings.rate_limit, world)),
        }
    }

    /// The right to an open stream, for as long as it is kept.
    pub fn stream(&self) -> Result<OwnedSemaphorePermit, Problem> {
        self.streams.clone().try_acquire_owned().map_err(|_| Problem::overloaded())
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
    let answered = tokio::time::timeout(ANSWER_WITHIN, next.run(request)).await;
    answered.unwrap_or_else(|_| Problem::database_away().into_response())
}

pub async fn per_client(
    State(limits): State<Arc<Limits>>,
    request: Request,
    next: Next,
) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    if let (Some(clients), Some(ConnectInfo(peer))) = (&limits.clients, peer)
        && let Err(wait_s) = clients.admit(peer.ip())
    {
        return Problem::too_many_requests(wait_s).into_response();
    }
    next.run(request).await
}

pub async fn survive_panics(request: Request, next: Next) -> Response {
    let what = format!("{} {}", request.method(), request.uri().path());
    let answered = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    answered.unwrap_or_else(|_| {
        tracing::error!("{what}: the handler panicked");
        Problem::internal().into_response()
    })
}

/// A bucket of tokens for each client, as large as what it may ask in a second.
struct Clients {
    per_second: f64,
    world: Arc<dyn World>,
    buckets: Mutex<HashMap<IpAddr, Bucket>>,
}

#[derive(Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: DateTime<Utc>,
}

impl Clients {
    fn new(per_second: u32, world: Arc<dyn World>) -> Self {
        Self { per_second: per_second.into(), world, buckets: Mutex::default() }
    }

    /// The error is the number of seconds until it is worth trying again.
    fn admit(&self, address: IpAddr) -> Result<(), u32> {
        let now = self.world.now();
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= CLIENTS_MAX {
            buckets.retain(|_, bucket| now - bucket.at < TimeDelta::seconds(1));
        }
        let full = Bucket { tokens: self.per_second, at: now };
        let bucket = buckets.entry(client(address)).or_insert(full);
        let elapsed_s = (now - bucket.at).as_seconds_f64().max(0.0);
        let tokens = elapsed_s.mul_add(self.per_second, bucket.tokens).min(self.per_second);
        let admitted = tokens >= 1.0;
        *bucket = Bucket { tokens: if admitted { tokens - 1.0 } else { tokens }, at: now };
        if admitted { Ok(()) } else { Err(1) }
    }
}

/// One host has a whole /64 of IPv6 to itself.
fn client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let network = v6.to_bits() >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from_bits(network))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}
