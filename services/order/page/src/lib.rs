//! The live page of the order service, and its binary: shows the events that order consumes and the
//! depths of the queues, as they change. It acts for operators, and with `DEMO=1`.

mod acting;
mod controls;
mod dead;
mod detail;
mod feed;
mod follow;
mod lanes;
mod map;
mod operator;
mod order_labels;
mod queues;
mod rates;
mod rows;
#[cfg(feature = "demo")]
mod scenarios;
mod scene;
mod sign_in;
mod steps;
#[cfg(feature = "demo")]
mod traffic;

use crate::order_labels::Ending;
pub use acting::Acting;
use acting::Viewer;
use askama::Template;
use axum::{
    Router,
    extract::{FromRef, Query, State, rejection::QueryRejection},
    middleware,
    response::{Html, IntoResponse},
    routing::{get, post},
};
pub use controls::Controls;
pub use dead::{Deed, OwnBooks};
use events::OrderId;
pub use feed::PageFeed;
use messaging::{Env, SystemEnv};
pub use operator::{Acted, Operator};
use order::{
    Feeds, MoreRoutes, Orders,
    http::{App, More},
    keys::{ApiKeys, Role},
};
use scene::Scene;
use secret::Secret;
use serde::Deserialize;
use service::{
    Service,
    http::{
        Limits,
        pages::{file, guard},
    },
};
use std::{path::PathBuf, sync::Arc};
use traffic::Traffic;

/// None without the demonstration.
#[cfg(not(feature = "demo"))]
mod scenarios {
    pub fn routes() -> axum::Router<crate::Page> {
        axum::Router::new()
    }

    pub const fn buttons(_: bool) -> String {
        String::new()
    }

    pub const fn tour(_: bool) -> String {
        String::new()
    }
}

/// None without the demonstration.
#[cfg(not(feature = "demo"))]
mod traffic {
    #[derive(Clone)]
    pub struct Traffic;

    impl Traffic {
        pub const fn new(_: u8) -> Self {
            Self
        }

        pub const fn is_flowing(&self) -> bool {
            false
        }

        pub async fn run(self, _: order::http::App, _: crate::PageFeed) {}
    }
}

/// Cargo unifies the features of all packages of a build, so a tool could bring the demonstration's
/// payment methods into a production build.
#[cfg(not(feature = "demo"))]
const _: () = assert!(!events::HAS_DEMO, "build the services without tools and tests");

#[derive(clap::Args, Clone, Debug)]
#[group(skip)]
pub struct Settings {
    #[command(flatten)]
    pub order: order::Settings,
    #[command(flatten)]
    pub page: PageSettings,
}

#[derive(clap::Args, Clone, Debug)]
pub struct PageSettings {
    /// 1 lets the page replay dead letters, and place a demonstration's orders: for anyone on this
    /// machine, or for operators where API keys are required
    #[arg(long, env = "DEMO", value_name = "DEMO", num_args = 0..=1)]
    #[arg(default_value = "0", default_missing_value = "1", hide_possible_values = true)]
    #[arg(value_parser = clap::builder::BoolishValueParser::new())]
    pub demo: bool,
    /// Orders a second of all kinds that a demonstration places while a page is open; 0: none
    #[cfg(feature = "demo")]
    #[arg(long, env = "DEMO_TRAFFIC", default_value_t = 0, value_name = "DEMO_TRAFFIC")]
    #[arg(value_parser = clap::value_parser!(u8).range(0..=20))]
    pub demo_traffic: u8,
    /// How an operator comes to RabbitMQ; for the dead letters, with DEMO=1 or API_KEYS=required
    #[arg(long, env = "OPERATOR_AMQP_URL", hide_env_values = true)]
    #[arg(value_name = "OPERATOR_AMQP_URL")]
    pub operator_amqp_url: Option<Secret>,
    /// A file that holds OPERATOR_AMQP_URL
    #[arg(long, env = "OPERATOR_AMQP_URL_FILE", value_name = "OPERATOR_AMQP_URL_FILE")]
    pub operator_amqp_url_file: Option<PathBuf>,
    /// RabbitMQ's own page, to be linked to
    #[arg(long, env = "RABBITMQ_PAGE", default_value = "", value_name = "RABBITMQ_PAGE")]
    pub rabbitmq_page: String,
}

/// What every route of the page is given.
#[derive(Clone)]
struct Page {
    app: App,
    feed: PageFeed,
    acting: Option<Arc<Acting>>,
    traffic: Traffic,
    rabbitmq_page: Arc<str>,
}

/// The order service with its page.
pub fn service(settings: &Settings) -> anyhow::Result<Service<Orders>> {
    let Settings { order, page } = settings;
    let orders = Orders { feeds: Feeds::with_capacity(order.feed_bytes()) };
    let may_act = page.demo || order.api_keys == ApiKeys::Required;
    let acting = may_act.then(|| Acting::new(page)).transpose()?.map(Arc::new);
    let Mounted { feed, routes } = mount(settings, acting);
    let (feeds, looked_at) = (orders.feeds.clone(), orders.clone());
    let service = order::service_with(order, orders, routes)?;
    Ok(service.worker("look for the live page", |context| {
        let backend = order::backend(context.clone(), looked_at);
        feed.run(context.with(()), backend, feeds)
    }))
}

/// The page's routes, and what looks for them once it runs.
pub struct Mounted {
    pub feed: PageFeed,
    pub routes: MoreRoutes,
}

pub fn mount(settings: &Settings, acting: Option<Arc<Acting>>) -> Mounted {
    let Settings { order, page } = settings;
    let operator = acting.as_ref().and_then(|acting| acting.operator.clone());
    let feed =
        PageFeed::new(SystemEnv.new_id(), order.order_deadline, operator, order.feed_bytes());
    let (rabbitmq_page, shown) = (page.rabbitmq_page.as_str().into(), feed.clone());
    let per_second = if page.demo { page.traffic() } else { 0 };
    let routes = Box::new(move |app: &App| {
        let traffic = Traffic::new(per_second);
        if acting.as_ref().is_some_and(|acting| acting.is_demo) {
            tokio::spawn(traffic.clone().run(app.clone(), shown.clone()));
        }
        routes(Page { app: app.clone(), feed: shown, acting, traffic, rabbitmq_page })
    });
    Mounted { feed, routes }
}

impl PageSettings {
    #[cfg(feature = "demo")]
    const fn traffic(&self) -> u8 {
        self.demo_traffic
    }

    #[cfg(not(feature = "demo"))]
    const fn traffic(&self) -> u8 {
        0
    }
}

impl Page {
    fn operator(&self) -> Option<&Arc<dyn Operator>> {
        self.acting.as_ref()?.operator.as_ref()
    }
}

impl FromRef<Page> for Arc<Limits> {
    fn from_ref(page: &Page) -> Self {
        Self::from_ref(&page.app)
    }
}

const STYLE: &str = concat!(include_str!("../assets/page.css"), include_str!("../assets/tour.css"));

fn routes(page: Page) -> More {
    let open = Router::new()
        .route("/page/page.css", get(|| file("text/css", STYLE)))
        .route("/page/page.js", get(|| file("text/javascript", include_str!("../assets/page.js"))))
        .merge(sign_in::routes())
        .layer(middleware::from_fn(guard));
    let routes = Router::new()
        .route("/", get(show))
        .route("/page/frames", get(follow::follow))
        .route("/page/orders/{id}", get(detail::show))
        .route("/page/orders/{id}/status", get(detail::status))
        .route("/page/dead-letters/{queue}/{deed}", post(dead::act))
        .route("/page/services/{service}/{deed}", post(controls::act))
        .merge(scenarios::routes())
        .layer(middleware::from_fn(guard))
        .with_state(page);
    More { routes, open }
}

#[derive(Template)]
#[template(path = "page.html")]
struct Whole<'a> {
    map: String,
    scene: Scene,
    frame: String,
    detail: String,
    selected: Option<OrderId>,
    buttons: String,
    tour: String,
    has_controls: bool,
    /// For acts; none for who may only look.
    token: Option<String>,
    /// Whose key it is.
    client: Option<Arc<str>>,
    rabbitmq_page: &'a str,
}

impl Whole<'_> {
    /// Order serves the page itself.
    const KILLED: [&'static str; 3] = ["payment", "inventory", "shipping"];

    fn count(&self, class: &str) -> &str {
        self.scene.counts.get(class).map_or("0", String::as_str)
    }
}

#[derive(Default, Deserialize)]
struct Asked {
    order: Option<String>,
}

async fn show(
    State(page): State<Page>,
    Viewer(caller): Viewer,
    asked: Result<Query<Asked>, QueryRejection>,
) -> impl IntoResponse {
    let mut subscriber = page.feed.subscribe(None);
    let (scene, frame) = subscriber.scene().await;
    let asked = asked.ok().and_then(|Query(asked)| asked.order?.parse().ok());
    let selected: Option<OrderId> = asked.or_else(|| Some(scene.rows.first()?.0));
    let detail = match selected {
        Some(id) => detail::html(&page.app, id).await.ok(),
        None => None,
    };
    let acting = page.acting.as_deref().filter(|_| caller.must(Role::operates).is_ok());
    let is_demo = acting.is_some_and(|it| it.is_demo);
    let has_controls = acting.is_some_and(|it| it.controls.is_some());
    let whole = Whole {
        map: map::draw(&scene.numbers, &scene.rates),
        detail: detail.unwrap_or_default(),
        selected,
        scene,
        frame,
        buttons: if is_demo {
            scenarios::buttons(page.traffic.is_flowing())
        } else {
            String::new()
        },
        tour: if is_demo { scenarios::tour(has_controls) } else { String::new() },
        has_controls,
        token: acting.map(|it| it.token(&caller)),
        client: caller.client(),
        rabbitmq_page: &page.rabbitmq_page,
    };
    Html(whole.render().expect("a page is text"))
}

#[cfg(test)]
mod tests;
