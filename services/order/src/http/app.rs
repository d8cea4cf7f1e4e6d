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
use axum::{
    extract::{FromRef, FromRequestParts, Path, Query},
    http::{Uri, request::Parts},
};
use events::OrderId;
use service::{
    Context, Health,
    http::{Errors, Limits, Problem},
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

/// The order that the path names. Text that is no id is treated as an unknown order's id.
pub struct Id(pub OrderId);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let text = Path::<String>::from_request_parts(parts, state).await;
        let text = text.map_or_else(|_| parts.uri.path().to_owned(), |Path(text)| text);
        text.parse().map(Self).map_err(|_| problem::no_order_id(&text))
    }
}

/// These parameters of the query, each of which may be given once; others are ignored.
pub fn parameters<const N: usize>(
    uri: &Uri,
    names: [&'static str; N],
) -> Result<[Option<String>; N], Problem> {
    let all = Query::<Vec<(String, String)>>::try_from_uri(uri);
    let Query(all) = all.map_err(|why| Problem::malformed(why.body_text(), Errors::new()))?;
    let (mut values, mut errors) = ([const { None }; N], Errors::new());
    for (name, value) in all {
        let Some(place) = names.iter().position(|known| *known == name) else { continue };
        if values[place].replace(value).is_some() {
            errors.insert(name, vec!["given more than once".into()]);
        }
    }
    if errors.is_empty() { Ok(values) } else { Err(problem::bad_parameters(errors)) }
}
