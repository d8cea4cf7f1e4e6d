//! The routes. What is wrong with a request is always told as `application/problem+json`.

mod cancel;
mod client;
mod docs;
mod draft;
mod endings;
mod follow;
mod health;
pub(crate) mod hosts;
mod limits;
mod list;
mod measure;
mod memory;
mod news;
mod place;
pub(crate) mod problem;
mod rate;
mod settings;
pub(crate) mod sse;
pub(crate) mod streams;
mod trace;

use crate::{
    Settings,
    page::{self, Page},
    placing::Placing,
    store::{self, Orders},
    view::View,
};
use axum::{
    Json, Router,
    extract::{Path, State, rejection::PathRejection},
    middleware,
    routing::{get, post},
};
pub(crate) use client::Client;
pub use draft::{ITEMS_MAX, QUANTITY_MAX};
use events::OrderId;
use limits::Limits;
pub use list::{LIMIT, LIMIT_MAX, Listed};
pub use news::CAUGHT_UP_MAX;
pub use place::KEY_MAX;
pub use problem::{Errors, Problem};
use service::Context;
pub use settings::HttpSettings;
use std::{sync::Arc, time::Duration};

const BODY_MAX: usize = 64 * 1024;

/// What every route is given.
#[derive(Clone)]
pub struct App {
    pub(crate) context: Context,
    pub(crate) orders: Orders,
    pub(crate) placing: Placing,
    pub(crate) page: Arc<Page>,
    pub(crate) limits: Arc<Limits>,
    order_deadline: Duration,
}

impl App {
    pub fn new(
        settings: &Settings,
        context: Context,
        orders: Orders,
        placing: Placing,
        page: Page,
    ) -> Self {
        let limits = Arc::new(Limits::new(&settings.http));
        let (page, order_deadline) = (Arc::new(page), settings.order_deadline);
        Self { context, orders, placing, page, limits, order_deadline }
    }

    pub(crate) fn as_of_now(&self, view: View) -> View {
        view.at(self.context.world.now(), self.order_deadline)
    }
}

pub fn routes(app: App) -> Router {
    let limits = app.limits.clone();
    let limited = Router::new()
        .route("/orders", get(list::list))
        .route("/orders/endings", get(endings::listen))
        .route("/orders/events", get(news::listen))
        .route("/orders/{id}", get(show))
        .route("/orders/{id}/cancel", post(cancel::cancel))
        .route("/orders/{id}/events", get(follow::follow))
        .merge(page::routes())
        .layer(middleware::from_fn(limits::in_time))
        .route("/orders", post(place::place))
        .layer(middleware::from_fn_with_state(limits.clone(), limits::in_flight))
        // Before that: a client that sends slowly holds no place in the line.
        .layer(middleware::from_fn_with_state(limits.clone(), memory::counted))
        .layer(middleware::from_fn_with_state(limits.clone(), limits::per_client));
    Router::new()
        .merge(limited)
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(measure::page))
        .route("/openapi.json", get(docs::openapi))
        .route("/docs", get(docs::page).layer(middleware::from_fn(page::guard)))
        .fallback(|| async { Problem::no_such_page() })
        .method_not_allowed_fallback(|| async { Problem::wrong_method() })
        .layer(middleware::from_fn(limits::survive_panics))
        .layer(middleware::from_fn_with_state(limits.clone(), hosts::ours))
        .layer(middleware::from_fn_with_state(limits, client::know))
        .layer(middleware::from_fn(measure::requests))
        .with_state(app)
}

async fn show(
    State(app): State<App>,
    id: Result<Path<OrderId>, PathRejection>,
) -> Result<Json<View>, Problem> {
    let id = order_id(id)?;
    let found = store::get(&app.context.ledger.pool, id).await?;
    found.map(|view| Json(app.as_of_now(view))).ok_or_else(|| Problem::no_such_order(id))
}

/// What is no id at all is no order's id either.
pub(crate) fn order_id(path: Result<Path<OrderId>, PathRejection>) -> Result<OrderId, Problem> {
    path.map(|Path(id)| id).map_err(|_| Problem::no_such_order("with such an id: it is a UUID"))
}

#[cfg(test)]
mod tests;
