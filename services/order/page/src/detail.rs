//! Serves `GET /page/orders/{id}`: one order in its lanes, as a fragment of the page.

use crate::{
    Page,
    acting::Viewer,
    lanes,
    order_labels::{self, Ending},
    steps::{Kind, Step, steps},
};
use askama::Template;
use axum::{Json, extract::State, response::Html};
use events::{OrderId, SERVICES};
use labels::span;
use order::{
    Order, View,
    http::{App, Id, problem},
};
use serde_json::{Value, json};
use service::http::Problem;

#[derive(Template)]
#[template(path = "detail.html")]
struct Detail {
    view: View,
    ending: Ending,
    summary: String,
    took: String,
    trace: Option<String>,
    lanes: String,
    steps: Vec<Step>,
}

pub async fn show(
    State(Page { app, .. }): State<Page>,
    _: Viewer,
    Id(id): Id,
) -> Result<Html<String>, Problem> {
    html(&app, id).await.map(Html)
}

/// For the tour: whether it has ended, and how.
pub async fn status(
    State(Page { app, .. }): State<Page>,
    _: Viewer,
    Id(id): Id,
) -> Result<Json<Value>, Problem> {
    let order = app.backend.order(id, None).await?.ok_or_else(|| problem::no_such_order(id))?;
    let (status, took) = (order.status(), span(age_ms(&order)));
    Ok(Json(json!({ "status": status, "is_final": status.is_final(), "took": took })))
}

fn age_ms(order: &Order) -> i64 {
    i64::try_from(order.age().as_millis()).unwrap_or(i64::MAX)
}

pub async fn html(app: &App, id: OrderId) -> Result<String, Problem> {
    let found = app.backend.get(id, None).await?;
    let view = found.ok_or_else(|| problem::no_such_order(id))?;
    let trace = app.backend.trace(id).await?;
    let view = app.as_of_now(view);
    let waiting = view.waits_for.clone().unwrap_or_default();
    let steps = steps(&view.order, &waiting);
    let status = view.order.status();
    let ending = Ending::of(status);
    let title = format!("Order {id}, {}", ending.word());
    let summary = match ending {
        Ending::Open => order_labels::waits(&waiting),
        _ => order_labels::ending(&view.order),
    };
    let detail = Detail {
        ending,
        summary,
        took: span(age_ms(&view.order)),
        // The part that distinguishes traces.
        trace: trace.and_then(|trace| trace.split('-').nth(1).map(Into::into)),
        lanes: lanes::draw(title, &steps),
        steps,
        view,
    };
    Ok(detail.render().expect("an order can be shown"))
}

impl Step {
    /// For screen readers.
    fn sentence(&self) -> String {
        let service = SERVICES[self.lane];
        match self.kind {
            Kind::Awaited => format!("waits for {service}"),
            Kind::Stuck => format!("stuck: {service} owes {}", self.event),
            Kind::Inferred => {
                format!("{service} publishes {}, which order does not consume", self.event)
            }
            Kind::Forth | Kind::Back => {
                let heard: Vec<_> = self.to.iter().map(|to| SERVICES[*to]).collect();
                let at = self.at_ms.map(span).unwrap_or_default();
                let took = self
                    .took_ms
                    .map_or_else(String::new, |ms| format!(", {} after its cause", span(ms)));
                let (words, heard) = (self.words, heard.join(" and "));
                format!(
                    "after {at} {service} publishes {} ({words}), consumed by {heard}{took}",
                    self.event
                )
            }
        }
    }
}
