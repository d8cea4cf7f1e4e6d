//! Routes requests. Every refusal is `application/problem+json`.

pub mod access;
mod app;
mod cancel;
mod docs;
mod draft;
mod endings;
mod follow;
mod list;
mod news;
mod place;
pub mod problem;

use crate::{keys::Role, view::View};
use access::{Caller, authenticate};
pub use app::{App, Id};
use axum::{
    Json, Router,
    extract::State,
    middleware,
    response::IntoResponse,
    routing::{get, post},
};
pub use draft::{ITEMS_MAX, QUANTITY_MAX};
pub use follow::END;
pub use list::{LIMIT, LIMIT_MAX, Listed};
pub use news::CAUGHT_UP_MAX;
use service::http::{Problem, guarded, health, in_time, limited, metrics, pages};

/// Routes of others, beside the service's own.
#[derive(Default)]
pub struct More {
    /// Limited and behind the keys, as the service's own are.
    pub routes: Router<App>,
    /// For everybody.
    pub open: Router<App>,
}

pub fn routes(app: App, more: More) -> Router {
    let of_orders = Router::new()
        .route("/orders", get(list::list))
        .route("/orders/endings", get(endings::listen))
        .route("/orders/events", get(news::listen))
        .route("/orders/{id}", get(show))
        .route("/orders/{id}/cancel", post(cancel::cancel))
        .route("/orders/{id}/events", get(follow::follow))
        .merge(more.routes)
        .layer(middleware::from_fn(in_time))
        .route("/orders", post(place::place));
    let all = limited(of_orders, app.limits())
        .route("/metrics", get(read_metrics))
        .layer(middleware::from_fn_with_state(app.clone(), authenticate))
        .merge(more.open)
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/openapi.json", get(docs::openapi))
        .route("/docs", get(docs::page).layer(middleware::from_fn(pages::guard)))
        .merge(docs::files());
    guarded(all, app.limits()).with_state(app)
}

async fn show(State(app): State<App>, caller: Caller, Id(id): Id) -> Result<Json<View>, Problem> {
    let found = app.backend.get(id, caller.scope()).await?;
    found.map(|view| Json(app.as_of_now(view))).ok_or_else(|| problem::no_such_order(id))
}

async fn read_metrics(caller: Caller) -> Result<impl IntoResponse, Problem> {
    caller.must(Role::sees_all)?;
    metrics::page().await
}

#[cfg(test)]
mod tests;
