//! Places an order of each scenario of the demonstration.

use crate::{
    Page,
    acting::{Acting, Allowed},
    traffic::Flow,
};
use askama::Template;
use axum::{
    Json, Router,
    extract::{Path, State},
    routing::{get, post},
};
use demo::{CUSTOMER, DemoOrder, PRICE};
use events::{CancelReason, Event, OrderCreated, OrderId};
use messaging::queue_name;
use order::{Draft, Request, http::App};
use serde_json::{Value, json};
use service::http::{Problem, pages::file};
use std::sync::Arc;

pub fn routes() -> Router<Page> {
    let script = || file("text/javascript", include_str!("../assets/tour.js"));
    Router::new()
        .route("/page/scenarios/{name}", post(place))
        .route("/page/traffic/{flow}", post(flow))
        .route("/page/orders/{id}/set-aside", post(set_aside))
        .route("/page/tour.js", get(script))
}

#[derive(Template)]
#[template(path = "tour.html")]
struct Tour {
    has_controls: bool,
}

pub fn tour(has_controls: bool) -> String {
    Tour { has_controls }.render().expect("a tour is text")
}

pub fn buttons(is_flowing: bool) -> String {
    Buttons { scenarios: &SCENARIOS, is_flowing }.render().expect("buttons are text")
}

#[derive(Template)]
#[template(path = "scenarios.html")]
struct Buttons {
    scenarios: &'static [Scenario],
    is_flowing: bool,
}

/// An order with a certain end.
struct Scenario {
    name: &'static str,
    words: &'static str,
    asking: DemoOrder,
}

const SCENARIOS: [Scenario; 6] = [
    Scenario { name: "happy", words: "happy", asking: DemoOrder::CONFIRMED },
    Scenario { name: "declined", words: "declined", asking: DemoOrder::DECLINED },
    Scenario { name: "flaky", words: "flaky", asking: DemoOrder::FLAKY },
    Scenario { name: "sold-out", words: "sold out", asking: DemoOrder::NONE_LEFT },
    Scenario { name: "carrier", words: "carrier", asking: DemoOrder::CARRIER },
    Scenario { name: "cancel", words: "cancel", asking: DemoOrder::CANCEL_CHARGED },
];

async fn place(
    Allowed(caller): Allowed,
    State(Page { app, acting, .. }): State<Page>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Problem> {
    of_demo(acting.as_deref())?;
    let order_id = place_one(&app, &name, caller.client()).await?;
    Ok(Json(json!({ "order_id": order_id })))
}

fn of_demo(acting: Option<&Acting>) -> Result<&Acting, Problem> {
    acting.filter(|acting| acting.is_demo).ok_or_else(Problem::no_such_page)
}

async fn flow(
    _: Allowed,
    State(Page { acting, traffic, .. }): State<Page>,
    Path(flow): Path<Flow>,
) -> Result<Json<Value>, Problem> {
    of_demo(acting.as_deref())?;
    traffic.set(flow);
    Ok(Json(json!({ "is_flowing": traffic.is_flowing() })))
}

/// Makes a dead letter of the message that waits for payment, for the tour.
async fn set_aside(
    _: Allowed,
    State(Page { acting, .. }): State<Page>,
    Path(id): Path<OrderId>,
) -> Result<Json<Value>, Problem> {
    let operator = of_demo(acting.as_deref())?.operator.clone();
    let operator = operator.ok_or_else(Problem::no_such_page)?;
    let queue = queue_name("payment", OrderCreated::NAME);
    match operator.set_aside(&queue, id).await {
        Ok(true) => Ok(Json(json!({ "order_id": id }))),
        Ok(false) => Err(Problem::not_ready("its message is not in the queue: payment consumes")),
        Err(why) => Err(Problem::not_ready(format!("{why:#}"))),
    }
}

/// An order of this scenario, of this client.
pub async fn place_one(
    app: &App,
    name: &str,
    client: Option<Arc<str>>,
) -> Result<OrderId, Problem> {
    let scenario = SCENARIOS.iter().find(|known| known.name == name);
    let scenario = scenario.ok_or_else(Problem::no_such_page)?;
    let DemoOrder { method: payment_method, cancel_after, .. } = scenario.asking;
    let items = scenario.asking.items();
    let total_amount = PRICE.times(scenario.asking.quantity).map_err(|_| Problem::internal())?;
    let draft = Draft { customer_id: CUSTOMER, payment_method, items, total_amount };
    let request = Request { draft, key: None, client, trace: None };
    let order_id = app.placing.place(request).await?.order_id;
    if let Some(wait) = cancel_after {
        let backend = app.backend.clone();
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            let _ = backend.cancel(order_id, CancelReason::Customer, None).await;
        });
    }
    Ok(order_id)
}
