//! Measures requests, how they end and how long they take; and serves all metrics.

use super::problem::Problem;
use axum::{
    extract::{MatchedPath, Request},
    http::{Method, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use telemetry::metrics;
use tokio::time::Instant;

pub async fn requests(request: Request, next: Next) -> Response {
    // Only names of ours: a client must not be able to fill the memory with his.
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
        tracing::error!("the metrics cannot be shown: {why:#}");
        Problem::internal()
    })?;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page))
}
