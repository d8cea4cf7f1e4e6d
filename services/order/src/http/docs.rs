//! Serves the API's documents: OpenAPI for programs and a page for people. Both are files that
//! `UPDATE_DOCS=1 cargo test -p tidy` writes (`tests/openapi`), with the demonstration's payment
//! methods and without.

use super::app::App;
use axum::{
    Extension, Router,
    http::{HeaderMap, header},
    middleware,
    response::{Html, IntoResponse},
    routing::get,
};
use service::http::{
    Encrypted,
    pages::{file, guard},
};

const BASE: &str = include_str!("../../assets/base.css");
const DOCS: &str = include_str!("../../assets/docs.css");
const ICON: &str = include_str!("../../assets/icon.svg");

#[cfg(feature = "demo")]
pub const OPENAPI: &str = include_str!("../../api/openapi.json");
#[cfg(feature = "demo")]
const PAGE: &str = include_str!("../../api/docs.html");

#[cfg(not(feature = "demo"))]
pub const OPENAPI: &str = include_str!("../../api/production/openapi.json");
#[cfg(not(feature = "demo"))]
const PAGE: &str = include_str!("../../api/production/docs.html");

/// As it stands in the page; the address under which the client asks takes its place.
const USUAL_BASE: &str = "http://127.0.0.1:3001";
const USUAL_HOST: &str = "127.0.0.1:3001";

/// `GET /openapi.json`.
pub async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI)
}

/// `GET /docs`.
pub async fn page(encrypted: Option<Extension<Encrypted>>, headers: HeaderMap) -> Html<String> {
    let scheme = if encrypted.is_some() { "https" } else { "http" };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let is_plain = |host: &&str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || ".-:[]".contains(c);
        !host.is_empty() && host.chars().all(plain)
    };
    let host = host.filter(is_plain).unwrap_or(USUAL_HOST);
    Html(PAGE.replacen(USUAL_BASE, &format!("{scheme}://{host}"), 1))
}

/// Their style sheets and scripts, some of them the live page's.
pub fn files() -> Router<App> {
    Router::new()
        .route("/page/base.css", get(|| file("text/css", BASE)))
        .route("/page/docs.css", get(|| file("text/css", DOCS)))
        .route("/page/icon.svg", get(|| file("image/svg+xml", ICON)))
        .layer(middleware::from_fn(guard))
}
