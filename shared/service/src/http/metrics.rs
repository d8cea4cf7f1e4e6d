//! Measures requests, their outcomes and durations; serves all metrics.

use super::problem::Problem;
use axum::{
    extract::{MatchedPath, Request},
    http::{Method, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use telemetry::metrics;
use tokio::time::Instant;

pub(super) async fn requests(request: Request, next: Next) -> Response {
    // Only known names: a client must not fill the memory with its own.
    let method = match *request.method() {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        _ => "other",
    };
    let route = request.extensions().get::<MatchedPath>().cloned();
    let began = Instant::now();
    let answer = next.run(request).await;
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    metrics::REQUESTS.record(began.elapsed(), [method, route, answer.status().as_str()]);
    answer
}

/// `GET /metrics`, for Prometheus.
pub async fn page() -> Result<impl IntoResponse, Problem> {
    let page = metrics::page().map_err(|why| {
        tracing::error!("cannot render metrics: {why:#}");
        Problem::internal()
    })?;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page))
}
