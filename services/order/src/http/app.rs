//! Holds the state that every route gets, and the request parsing that several routes share.

use super::problem;
use crate::{
    Settings,
    feed::Feeds,
    keys::Keys,
    placing::Placing,
    store::{Backend, Orders, Postgres},
    view::View,
};
use axum::extract::{FromRef, Path, rejection::PathRejection};
use events::OrderId;
use service::{
    Context, Health,
    http::{Limits, Problem},
};
use std::{sync::Arc, time::Duration};

#[derive(Clone)]
pub struct App {
    /// Without the message store: the database is behind the backend.
    pub context: Context<()>,
    pub backend: Arc<dyn Backend>,
    pub feeds: Feeds,
    pub placing: Placing,
    pub keys: Keys,
    limits: Arc<Limits>,
    order_deadline: Duration,
}

impl App {
    /// Over order's Postgres.
    pub fn new(
        settings: &Settings,
        context: Context,
        orders: Orders,
        placing: Placing,
        keys: Keys,
    ) -> Self {
        let (plain, feeds) = (context.clone().with(()), orders.feeds.clone());
        let backend = Arc::new(Postgres { context, orders });
        Self::over(backend, settings, plain, feeds, placing, keys)
    }

    pub fn over(
        backend: Arc<dyn Backend>,
        settings: &Settings,
        context: Context<()>,
        feeds: Feeds,
        placing: Placing,
        keys: Keys,
    ) -> Self {
        let (limits, order_deadline) = (Limits::new(&settings.http), settings.order_deadline);
        Self { context, backend, feeds, placing, keys, limits: Arc::new(limits), order_deadline }
    }

    pub(super) fn limits(&self) -> Arc<Limits> {
        self.limits.clone()
    }

    pub fn as_of_now(&self, view: View) -> View {
        view.at(self.context.env.now(), self.order_deadline)
    }
}

impl FromRef<App> for Arc<Health> {
    fn from_ref(app: &App) -> Self {
        app.context.health.clone()
    }
}

impl FromRef<App> for Arc<Limits> {
    fn from_ref(app: &App) -> Self {
        app.limits()
    }
}

/// Text that is no id is treated as an unknown order's id.
pub fn order_id(path: Result<Path<OrderId>, PathRejection>) -> Result<OrderId, Problem> {
    path.map(|Path(id)| id).map_err(|_| problem::no_such_order("with such an id: it is a UUID"))
}
