//! The live page: what order hears, and what waits in the broker, as it happens. It reads only, but
//! where a demonstration is asked for.

mod dead;
mod demo;
mod detail;
mod follow;
mod hub;
mod lanes;
pub mod map;
mod queues;
mod rows;
mod scene;
mod steps;
mod words;

use crate::http::App;
use askama::Template;
use axum::{
    Router,
    extract::{Query, State, rejection::QueryRejection},
    middleware,
    response::{Html, IntoResponse},
    routing::{get, post},
};
use dead::Operator;
use demo::Demo;
use events::OrderId;
use messaging::{RealWorld, World};
use scene::Scene;
use serde::Deserialize;
use service::http::pages::{file, guard};
use std::time::Duration;
use words::Ending;

pub use hub::Hub;

#[derive(clap::Args, Clone, Debug)]
pub struct PageSettings {
    /// Lets the page place orders and replay dead letters, for whoever sits at this machine
    #[arg(long, env = "DEMO", value_name = "DEMO", num_args = 0..=1)]
    #[arg(default_value = "0", default_missing_value = "1")]
    #[arg(value_parser = clap::builder::BoolishValueParser::new())]
    pub demo: bool,
    /// How an operator comes to RabbitMQ; for the dead letters, with DEMO=1
    #[arg(long, env = "OPERATOR_AMQP_URL", hide_env_values = true, default_value = "")]
    #[arg(value_name = "OPERATOR_AMQP_URL")]
    pub operator_amqp_url: String,
    /// RabbitMQ's own page, to be linked to
    #[arg(long, env = "RABBITMQ_PAGE", default_value = "", value_name = "RABBITMQ_PAGE")]
    pub rabbitmq_page: String,
}

pub struct Page {
    hub: Hub,
    demo: Option<Demo>,
    rabbitmq_page: String,
}

impl Page {
    /// With who looks for it.
    pub fn new(settings: &PageSettings, order_deadline: Duration, bytes_max: usize) -> (Self, Hub) {
        let demo = settings.demo.then(|| Demo::new(settings));
        let operator = demo.as_ref().and_then(|demo| demo.operator.clone());
        let hub = Hub::new(RealWorld.new_id(), order_deadline, operator, bytes_max);
        let rabbitmq_page = settings.rabbitmq_page.clone();
        (Self { hub: hub.clone(), demo, rabbitmq_page }, hub)
    }

    fn operator(&self) -> Option<&Operator> {
        self.demo.as_ref()?.operator.as_ref()
    }
}

pub fn routes() -> Router<App> {
    Router::new()
        .route("/", get(show))
        .route("/page/frames", get(follow::follow))
        .route("/page/orders/{id}", get(detail::show))
        .route("/page/scenarios/{name}", post(demo::place))
        .route("/page/dead-letters/{queue}/{deed}", post(dead::act))
        .route("/page/base.css", get(|| file("text/css", include_str!("../assets/base.css"))))
        .route("/page/docs.css", get(|| file("text/css", include_str!("../assets/docs.css"))))
        .route("/page/page.css", get(|| file("text/css", include_str!("../assets/page.css"))))
        .route("/page/page.js", get(|| file("text/javascript", include_str!("../assets/page.js"))))
        .route("/page/icon.svg", get(|| file("image/svg+xml", include_str!("../assets/icon.svg"))))
        .layer(middleware::from_fn(guard))
}

#[derive(Template)]
#[template(path = "page.html")]
struct Whole<'a> {
    map: String,
    scene: Scene,
    frame: String,
    detail: String,
    selected: Option<OrderId>,
    scenarios: &'static [demo::Scenario],
    demo: Option<&'a Demo>,
    rabbitmq_page: &'a str,
}

impl Whole<'_> {
    fn count(&self, class: &str) -> &str {
        self.scene.counts.get(class).map_or("0", String::as_str)
    }
}

#[derive(Default, Deserialize)]
struct Asked {
    order: Option<String>,
}

async fn show(
    State(app): State<App>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> impl IntoResponse {
    let mut seat = app.page.hub.seat(None);
    let (scene, frame) = seat.scene().await;
    let asked = asked.ok().and_then(|Query(asked)| asked.order?.parse().ok());
    let selected: Option<OrderId> = asked.or_else(|| Some(scene.rows.first()?.0));
    let detail = match selected {
        Some(id) => detail::html(&app, id).await.ok(),
        None => None,
    };
    let page = Whole {
        map: map::draw(&scene.numbers),
        detail: detail.unwrap_or_default(),
        selected,
        scene,
        frame,
        scenarios: &demo::SCENARIOS,
        demo: app.page.demo.as_ref(),
        rabbitmq_page: &app.page.rabbitmq_page,
    };
    Html(page.render().expect("a page is text"))
}

#[cfg(test)]
mod tests;
