//! Places an order of each scenario of the demonstration.

use crate::{Page, acting::Allowed};
use askama::Template;
use axum::{
    Json, Router,
    extract::{Path, State},
    routing::post,
};
use demo::{CUSTOMER, DemoOrder, PRICE};
use events::CancelReason;
use order::{Draft, Request};
use serde_json::{Value, json};
use service::http::Problem;

pub fn routes() -> Router<Page> {
    Router::new().route("/page/scenarios/{name}", post(place))
}

pub fn buttons() -> String {
    Buttons { scenarios: &SCENARIOS }.render().expect("buttons are text")
}

#[derive(Template)]
#[template(path = "scenarios.html")]
struct Buttons {
    scenarios: &'static [Scenario],
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
    if !acting.is_some_and(|acting| acting.is_demo) {
        return Err(Problem::no_such_page());
    }
    let scenario = SCENARIOS.iter().find(|known| known.name == name);
    let scenario = scenario.ok_or_else(Problem::no_such_page)?;
    let DemoOrder { method: payment_method, cancel_after, .. } = scenario.asking;
    let items = scenario.asking.items();
    let total_amount = PRICE.times(scenario.asking.quantity).map_err(|_| Problem::internal())?;
    let draft = Draft { customer_id: CUSTOMER, payment_method, items, total_amount };
    let request = Request { draft, key: None, client: caller.client(), trace: None };
    let order_id = app.placing.place(request).await?.order_id;
    if let Some(wait) = cancel_after {
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            let _ = app.backend.cancel(order_id, CancelReason::Customer, None).await;
        });
    }
    Ok(Json(json!({ "order_id": order_id })))
}
