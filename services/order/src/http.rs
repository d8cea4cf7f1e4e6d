//! The routes. What is wrong with a request is always told as `application/problem+json`.

mod cancel;
mod docs;
mod draft;
mod endings;
mod follow;
mod list;
mod news;
mod place;
pub mod problem;

use crate::{
    Settings,
    placing::Placing,
    store::{self, Orders},
    view::View,
};
use axum::{
    Json, Router,
    extract::{FromRef, Path, State, rejection::PathRejection},
    middleware,
    routing::{get, post},
};
pub use draft::{ITEMS_MAX, QUANTITY_MAX};
use events::OrderId;
pub use list::{LIMIT, LIMIT_MAX, Listed};
pub use news::CAUGHT_UP_MAX;
pub use place::KEY_MAX;
use service::{
    Context,
    http::{Limits, Problem, guarded, health, in_time, limited, metrics, pages},
};
use std::{sync::Arc, time::Duration};

/// What every route is given.
#[derive(Clone)]
pub struct App {
    pub context: Context,
    pub orders: Orders,
    pub placing: Placing,
    limits: Arc<Limits>,
    order_deadline: Duration,
}

impl App {
    pub fn new(settings: &Settings, context: Context, orders: Orders, placing: Placing) -> Self {
        let (limits, order_deadline) = (Limits::new(&settings.http), settings.order_deadline);
        Self { context, orders, placing, limits: Arc::new(limits), order_deadline }
    }

    pub fn as_of_now(&self, view: View) -> View {
        view.at(self.context.world.now(), self.order_deadline)
    }
}

impl FromRef<App> for Context {
    fn from_ref(app: &App) -> Self {
        app.context.clone()
    }
}

impl FromRef<App> for Arc<Limits> {
    fn from_ref(app: &App) -> Self {
        app.limits.clone()
    }
}

/// `more` are limited as the service's own are.
pub fn routes(app: App, more: Router<App>) -> Router {
    let of_orders = Router::new()
        .route("/orders", get(list::list))
        .route("/orders/endings", get(endings::listen))
        .route("/orders/events", get(news::listen))
        .route("/orders/{id}", get(show))
        .route("/orders/{id}/cancel", post(cancel::cancel))
        .route("/orders/{id}/events", get(follow::follow))
        .merge(more)
        .layer(middleware::from_fn(in_time))
        .route("/orders", post(place::place));
    let all = limited(of_orders, &app.limits)
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(metrics::page))
        .route("/openapi.json", get(docs::openapi))
        .route("/docs", get(docs::page).layer(middleware::from_fn(pages::guard)))
        .merge(docs::files());
    guarded(all, app.limits.clone()).with_state(app)
}

async fn show(
    State(app): State<App>,
    id: Result<Path<OrderId>, PathRejection>,
) -> Result<Json<View>, Problem> {
    let id = order_id(id)?;
    let found = store::get(&app.context.ledger.pool, id).await?;
    found.map(|view| Json(app.as_of_now(view))).ok_or_else(|| problem::no_such_order(id))
}

/// What is no id at all is no order's id either.
pub fn order_id(path: Result<Path<OrderId>, PathRejection>) -> Result<OrderId, Problem> {
    path.map(|Path(id)| id).map_err(|_| problem::no_such_order("with such an id: it is a UUID"))
}

#[cfg(test)]
mod tests;
